package miltertest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// Reply is a filter's reply to a step.
type Reply struct {
	// Status is what the callback returned, as the MTA understands it: SMFIS_NOREPLY if that step was negotiated without
	// replies, SMFIS_CONTINUE also if the step was not sent, and MTA.OnFailure if the MTA cannot make sense of the reply.
	Status milter.Status
	// Code is the SMTP reply code that Session.SetReply and its like gave, 0 if they did not.
	Code int
	// XCode is the enhanced status code of the reply, "5.7.1"; "" if it has none.
	XCode string
	// Lines are the reply's lines of text as the filter gave them: without the codes, and with one percent sign for two.
	Lines []string
	// Raw is that reply as the filter sent it: with its codes, lines parted by CRLF; "" if it gave none.
	Raw string
	// Client is what the SMTP client is told of a refusal, line by line, at this step or, of Connect and Helo, at a later one:
	// "550 5.7.1 <b@example.com>... No." is what Sendmail makes of "550 5.7.1 No.". nil if the client is told nothing.
	Client []string
	// Unsent tells that the step was not sent: the filter has negotiated to be spared it (a nil callback implies that), or
	// has answered SMFIS_SKIP to one before it, or the connection has failed.
	Unsent bool
}

// Continues tells whether the MTA goes on with the mail after this reply.
func (r Reply) Continues() bool {
	return r.Status == milter.SMFIS_CONTINUE || r.Status == milter.SMFIS_NOREPLY || r.Status == milter.SMFIS_SKIP
}

// String gives the status and the reply, "SMFIS_REJECT 550 5.7.1 No."; further lines follow, each on a line of its own.
func (r Reply) String() string {
	text := r.Status.String()
	if r.Unsent {
		text = "not sent"
	}
	if r.Code == 0 {
		return text
	}
	text += fmt.Sprintf(" %d", r.Code)
	if r.XCode != "" {
		text += " " + r.XCode
	}
	return strings.TrimRight(text+" "+strings.Join(r.Lines, "\n"), " ")
}

// statuses are the replies of one letter.
var statuses = map[byte]milter.Status{
	replyContinue: milter.SMFIS_CONTINUE, replyAccept: milter.SMFIS_ACCEPT, replyReject: milter.SMFIS_REJECT,
	replyTempfail: milter.SMFIS_TEMPFAIL, replyDiscard: milter.SMFIS_DISCARD, replySkip: milter.SMFIS_SKIP,
}

var (
	replyLine    = regexp.MustCompile(`^([45]\d\d)([ -]|$)`)
	enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}( |$)`)
)

// parseReply reads a packet that ends a step.
func parseReply(p Packet) (Reply, error) {
	if status, ok := statuses[p.Code]; ok && p.Data == "" {
		return Reply{Status: status}, nil
	}
	if p.Code != replyCode {
		return Reply{}, fmt.Errorf("the filter sent what is no reply: %v", p)
	}
	text, ended := strings.CutSuffix(p.Data, "\x00")
	r := Reply{Status: milter.SMFIS_TEMPFAIL, Raw: text}
	for line := range strings.SplitSeq(text, "\r\n") {
		code := replyLine.FindStringSubmatch(line)
		if code == nil || !ended {
			return Reply{}, fmt.Errorf("the filter sent a malformed SMTP reply: %v", p)
		}
		r.Code, _ = strconv.Atoi(code[1])
		line = line[len(code[0]):]
		if x := enhancedCode.FindString(line); x != "" {
			r.XCode = strings.TrimSuffix(x, " ")
			line = line[len(x):]
		}
		r.Lines = append(r.Lines, strings.ReplaceAll(line, "%%", "%"))
	}
	if r.Code >= 500 {
		r.Status = milter.SMFIS_REJECT
	}
	return r, nil
}
