package miltertest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

var order = []string{"Connect", "Helo", "MailFrom", "RcptTo", "Data", "Header", "EOH", "Segment", "EOM"}

// A mail ends with the step that decides about it.
func TestSendVerdicts(t *testing.T) {
	t.Parallel()
	for i, step := range order {
		for _, verdict := range []milter.Status{milter.SMFIS_ACCEPT, milter.SMFIS_REJECT, milter.SMFIS_TEMPFAIL, milter.SMFIS_DISCARD} {
			t.Run(step+" "+verdict.String(), func(t *testing.T) {
				t.Parallel()
				var seen []string
				f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, func(s *milter.Session, name string) milter.Status {
					switch {
					case name != step:
						return milter.SMFIS_CONTINUE
					case verdict == milter.SMFIS_REJECT:
						return s.Reply(550, "5.7.1", "No.")
					}
					return verdict
				}))
				c, err := f.Dial()
				require.NoError(t, err)
				mail := miltertest.Mail{From: "<a@example.org> SIZE=1", To: []string{"b@example.com", "<c@example.com>"}, Data: "A: 1\n\nb\n"}
				result := c.Send(mail)
				if verdict == milter.SMFIS_DISCARD && i < 2 {
					require.EqualError(t, c.Err(), step+": the filter answered SMFIS_DISCARD, and there is no mail yet: MTAs take it for a failure")
					assert.Equal(t, milter.SMFIS_TEMPFAIL, result.Verdict)
					return
				}
				assert.Equal(t, verdict, result.Verdict)
				assert.Equal(t, step, result.Step)
				assert.Equal(t, verdict, result.Reply.Status)
				assert.Equal(t, verdict == milter.SMFIS_REJECT, result.Reply.Code == 550)
				if verdict == milter.SMFIS_ACCEPT {
					assert.Equal(t, "<a@example.org> SIZE=1", result.From)
					assert.Equal(t, []string{"<b@example.com>", "<c@example.com>"}, result.Rcpts)
					assert.Equal(t, "A: 1\r\n\r\nb\r\n", result.Data())
				} else {
					assert.Empty(t, result.From+result.Body)
					assert.Empty(t, result.Rcpts)
					assert.Empty(t, result.Header)
				}
				if step == "RcptTo" && (verdict == milter.SMFIS_REJECT || verdict == milter.SMFIS_TEMPFAIL) {
					assert.Len(t, result.Refused, 2)
					assert.Equal(t, verdict, result.Refused["<c@example.com>"].Status)
				}

				// The next mail on the connection begins anew, unless the client was decided about.
				again := c.Send(mail)
				assert.Equal(t, verdict, again.Verdict)
				assert.Equal(t, step, again.Step)
				c.Quit()
				require.NoError(t, c.Err())
				var senders, later []string
				for _, call := range seen {
					name := strings.Fields(call)[0]
					if name == "MailFrom" {
						senders = append(senders, call)
					}
					if slices.Contains(order[i+1:], name) {
						later = append(later, call)
					}
				}
				assert.Empty(t, later, "the filter was asked on")
				assert.Len(t, senders, map[bool]int{true: 0, false: 2}[i < 2])
			})
		}
	}
}

func TestRefusedRecipients(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		to      []string
		verdict milter.Status
		code    int
		held    []string
		last    string
	}{
		"one":              {[]string{"a@no", "b@yes", "c@later"}, milter.SMFIS_ACCEPT, 0, []string{"<b@yes>"}, "EOM"},
		"all":              {[]string{"a@no", "b@no"}, milter.SMFIS_REJECT, 550, nil, "Abort"},
		"all, one for now": {[]string{"a@no", "b@later", "c@no"}, milter.SMFIS_TEMPFAIL, 450, nil, "Abort"},
		"discard":          {[]string{"a@no", "b@discard", "c@yes"}, milter.SMFIS_DISCARD, 0, nil, "Abort"},
		"accept":           {[]string{"a@no", "b@accept", "c@no", "d@no"}, milter.SMFIS_ACCEPT, 0, []string{"<b@accept>", "<c@no>", "<d@no>"}, `RcptTo "<b@accept>" []`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []string
			cb := recorder(&seen, nil)
			rcptTo := cb.RcptTo
			cb.RcptTo = func(s *milter.Session, address string, args []string) milter.Status {
				rcptTo(s, address, args)
				switch {
				case strings.HasSuffix(address, "@no>"):
					return s.Reply(550, "5.1.1", "No such user.")
				case strings.HasSuffix(address, "@later>"):
					return s.Reply(450, "4.2.1", "Later.")
				case strings.HasSuffix(address, "@discard>"):
					return milter.SMFIS_DISCARD
				case strings.HasSuffix(address, "@accept>"):
					return milter.SMFIS_ACCEPT
				}
				return milter.SMFIS_CONTINUE
			}
			f := miltertest.Start(t, milter.SMFIF_NONE, cb)
			result := f.Send(miltertest.Mail{To: tc.to})
			assert.Equal(t, tc.verdict, result.Verdict)
			assert.Equal(t, tc.code, result.Reply.Code)
			assert.Equal(t, tc.held, result.Rcpts)
			assert.Equal(t, []string{tc.last, "Close"}, seen[len(seen)-2:])
			assert.Equal(t, 550, result.Refused["<a@no>"].Code)
		})
	}
}

// Steps and transcript are those of the mail.
func TestSendSteps(t *testing.T) {
	t.Parallel()
	var seen []string
	var traced []miltertest.Step
	f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	mta := miltertest.Postfix()
	mta.Trace = func(s miltertest.Step) { traced = append(traced, s) }
	c := f.With(mta).Connect()
	result := c.Send(miltertest.Mail{Data: "A: 1\n\nb\n"})
	names := func(steps []miltertest.Step) (list []string) {
		for _, step := range steps {
			list = append(list, strings.TrimRight(step.Name+" "+step.Text, " "))
		}
		return list
	}
	mail := []string{"MailFrom <sender@example.org>", "RcptTo <recipient@example.com>", "Data", "Header A: 1", "EOH", "Segment 3 bytes", "EOM"}
	first := append([]string{"Connect client.example.org [192.0.2.10]:40000", "Helo client.example.org"}, mail...)
	assert.Equal(t, first, names(result.Steps))
	assert.Equal(t, mail, names(c.Send(miltertest.Mail{Data: "A: 1\n\nb\n"}).Steps))
	c.Quit()
	assert.Equal(t, append(append(first, mail...), "Quit"), names(traced))
	assert.Equal(t, "> SMFIC_OPTNEG", strings.Split(result.Transcript.String(), " version")[0])
	assert.Equal(t, "< SMFIR_CONTINUE", result.Transcript[len(result.Transcript)-1].String())
	for _, packet := range []string{
		`> SMFIC_CONNECT "client.example.org" '4' 40000 "192.0.2.10"`, `> SMFIC_MACRO 'C' "j" "mx.example.org" "{daemon_name}"`,
		`> SMFIC_MAIL "<sender@example.org>"`, `> SMFIC_HEADER "A" "1"`, `> SMFIC_BODY 3 bytes "b\r\n"`, "> SMFIC_BODYEOB\n",
	} {
		assert.Contains(t, result.Transcript.String(), packet)
	}
}

// A field is sent as MTAs send it, and held as it came.
func TestLeadingSpace(t *testing.T) {
	t.Parallel()
	const data = "A:1\nB: 2\nC:  3\nD:\t4\nE:\n\n"
	for protocol, want := range map[milter.Protocol][]string{
		0:                        {`Header "A" "1"`, `Header "B" "2"`, `Header "C" " 3"`, `Header "D" "\t4"`, `Header "E" ""`},
		milter.SMFIP_HDR_LEADSPC: {`Header "A" "1"`, `Header "B" " 2"`, `Header "C" "  3"`, `Header "D" "\t4"`, `Header "E" ""`},
	} {
		var seen []string
		f := miltertest.StartServer(t, &milter.Server{Protocol: protocol, Callbacks: recorder(&seen, nil)})
		result := f.Send(miltertest.Mail{Data: data})
		assert.Equal(t, want, seen[5:10])
		assert.Equal(t, strings.ReplaceAll(data, "\n", "\r\n"), result.Data())
	}
}

// A client that was introduced step by step is not introduced again.
func TestSendAfterSteps(t *testing.T) {
	t.Parallel()
	var seen []string
	f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	c := f.Connect()
	c.Connect("a.example", nil)
	c.Helo("a.example")
	assert.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{}).Verdict)
	c.Quit()
	assert.Equal(t, []string{`Connect "a.example" "<nil> <nil>"`, `Helo "a.example"`, `MailFrom "<sender@example.org>" []`}, seen[:3])

	f = miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
		Helo: func(s *milter.Session, _ string) milter.Status { return s.Reply(550, "5.7.1", "No.") }})
	c = f.Connect()
	c.Connect("a.example", nil)
	c.Helo("a.example")
	c.Helo("b.example")
	result := c.Send(miltertest.Mail{})
	assert.Equal(t, milter.SMFIS_REJECT, result.Verdict)
	assert.Equal(t, 550, result.Reply.Code)
	c.Quit()
}

func TestSendNoNUL(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
	c, err := f.Dial()
	require.NoError(t, err)
	assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Send(miltertest.Mail{Data: "A: b\x00c\n\n"}).Verdict)
	require.EqualError(t, c.Err(), "Send: header field A holds a NUL, which the milter protocol cannot carry")
	assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Helo("x").Status)
	assert.Equal(t, miltertest.Packet{}, c.Read())
	before := len(c.Transcript())
	c.EOM()
	c.Abort()
	c.Write('Z')
	assert.Len(t, c.Transcript(), before, "nothing more was sent")
}

// What the MTA drops, the filter does not see.
func TestSendHides(t *testing.T) {
	t.Parallel()
	const data = "Bcc: x\nReturn-Path: <>\nFrom:\nDate: \nSubject:\n\n"
	for _, tc := range []struct {
		mta  miltertest.MTA
		want []string
	}{
		{miltertest.Postfix(), []string{`Header "From" ""`, `Header "Date" ""`, `Header "Subject" ""`}},
		{miltertest.Sendmail(), []string{`Header "Bcc" "x"`, `Header "Return-Path" "<>"`, `Header "Subject" ""`}},
	} {
		var seen []string
		f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil)).With(tc.mta)
		f.Send(miltertest.Mail{Data: data})
		assert.Equal(t, tc.want, seen[5:8])
	}
}

// Text that the protocol cannot carry is refused, not cut.
func TestNoNUL(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
	for want, mail := range map[string]miltertest.Mail{
		`Connect: "a\x00b" holds a NUL, which the milter protocol cannot carry`:    {Client: "a\x00b"},
		`Helo: "a\x00b" holds a NUL, which the milter protocol cannot carry`:       {Helo: "a\x00b"},
		`MailFrom: "<a\x00b>" holds a NUL, which the milter protocol cannot carry`: {From: "a\x00b"},
		`RcptTo: "<a> X=\x00" holds a NUL, which the milter protocol cannot carry`: {To: []string{"b", "a X=\x00"}},
		`Send: a recipient is empty`: {To: []string{"b", ""}},
	} {
		c, err := f.Dial()
		require.NoError(t, err)
		assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Send(mail).Verdict)
		require.EqualError(t, c.Err(), want)
	}
}
