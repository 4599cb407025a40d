package miltertest

import (
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// Result is what has become of a mail.
type Result struct {
	// Verdict is what the MTA does with the mail: SMFIS_ACCEPT (also if the filter let it pass with SMFIS_CONTINUE),
	// SMFIS_REJECT, SMFIS_TEMPFAIL or SMFIS_DISCARD. If the filter has refused every recipient, it is SMFIS_TEMPFAIL where one
	// of them was refused for now, and else SMFIS_REJECT. If the connection has failed, it is MTA.OnFailure; see Err. Of a
	// Mail.Local, SMFIS_REJECT is a bounce to the sender and SMFIS_TEMPFAIL a mail that Postfix keeps and tries again.
	Verdict milter.Status
	// Err is why the connection has failed, Conn.Err, or nil.
	Err error
	// Step is the step whose reply that is, as Step.Name.
	Step string
	// Reply is the filter's reply to it.
	Reply Reply
	// Refused are the recipients that the filter has refused, "<b@example.com>", and its replies.
	Refused map[string]Reply

	// From, Rcpts, Header and Body are the mail as the MTA holds it after the filter's changes; empty unless Verdict is
	// SMFIS_ACCEPT. Addresses are in angle brackets, with their ESMTP arguments behind; those of Rcpts are as the MTA hands
	// them on, without a source route, and an address may be there twice: see Modifier.AddRcpt. Header has the fields of the mail
	// and of the filter, not those that the MTA adds by itself. Lines of Body end with CRLF.
	From   string
	Rcpts  []string
	Header Header
	Body   string
	// Quarantine is the reason why the mail is held back: Modifier.Quarantine's; "" if it is not.
	Quarantine string

	// Changes are the filter's calls of Modifier, as they went over the wire: a new body comes in pieces of 65,535 bytes.
	Changes []Change
	// Progress is how often the filter has reported progress.
	Progress int
	// Steps are the steps since the connection's last mail, or since it was opened.
	Steps []Step
	// Transcript are the packets of the connection up to this mail's end.
	Transcript Transcript
}

// Data gives the mail as it would follow DATA, its lines ended with CRLF.
func (r *Result) Data() string {
	return strings.ReplaceAll(r.Header.String(), "\n", "\r\n") + "\r\n" + r.Body
}

// conversation is the mail that a connection is at, as far as it has come.
type conversation struct {
	from     string
	rcpts    []string
	refused  map[string]Reply
	header   Header
	body     []byte
	changes  []Change
	progress int
}

func (m *conversation) refuse(path string, reply Reply) {
	if m.refused == nil {
		m.refused = map[string]Reply{}
	}
	m.refused[path] = reply
}

// result ends the mail with a reply, the last step's.
func (c *Conn) result(reply Reply) *Result {
	if c.err != nil {
		reply = c.failure
	}
	m := c.mail
	r := &Result{Verdict: reply.Status, Err: c.err, Reply: reply, Refused: m.refused, Changes: m.changes, Progress: m.progress,
		Steps: c.steps, Transcript: c.Transcript()}
	if r.Step = c.final.Name; len(r.Steps) > 0 {
		r.Step = r.Steps[len(r.Steps)-1].Name
	}
	c.steps = nil
	c.mail = conversation{}
	if reply.Continues() {
		r.Verdict = milter.SMFIS_ACCEPT
	}
	if r.Verdict == milter.SMFIS_ACCEPT {
		r.hold(m, c.mta.Kind, c.has(milter.SMFIP_HDR_LEADSPC))
	}
	return r
}

// hold fills in the mail as it is after the changes.
func (r *Result) hold(m conversation, kind Kind, leadingSpace bool) {
	r.From, r.Body = m.from, string(m.body)
	rcpts := newEnvelope(kind, m.rcpts)
	r.Header = kind.place(m.header, m.changes, leadingSpace)
	var body strings.Builder
	replaced := false
	for _, change := range m.changes {
		switch change.Op {
		case ReplaceBody:
			replaced = true
			body.WriteString(change.Value)
		case Quarantine:
			r.Quarantine = change.Value
		case ChangeFrom:
			r.From = joinPath(brackets(change.Value), strings.Fields(change.Args))
		case AddRcpt, AddRcptPar:
			rcpts.add(change.Value, strings.Fields(change.Args), change.Op == AddRcptPar)
		case DelRcpt:
			rcpts.remove(change.Value)
		}
	}
	r.Rcpts = rcpts.paths()
	if replaced {
		r.Body = body.String()
	}
}
