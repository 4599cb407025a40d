package miltertest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// refusing gives callbacks that refuse at one step, each with the same reply of SetReply or
// SetMLReply.
func refusing(t testing.TB, step, rcode, xcode string, lines ...string) milter.Callbacks {
	var seen []string
	return recorder(&seen, func(s *milter.Session, name string) milter.Status {
		if name != step {
			return milter.SMFIS_CONTINUE
		}
		var err error
		if len(lines) == 1 {
			err = s.SetReply(rcode, xcode, lines[0])
		} else if len(lines) > 1 {
			err = s.SetMLReply(rcode, xcode, lines...)
		}
		assert.NoError(t, err)
		if strings.HasPrefix(rcode, "5") {
			return milter.SMFIS_REJECT
		}
		return milter.SMFIS_TEMPFAIL
	})
}

// The texts are those of docs/mta-matrix.md, section "Replies"; test/mta compares the other
// section's itself.
func TestClientIsTold(t *testing.T) {
	t.Parallel()
	const unavailable, later = "451 4.7.1 Service unavailable - try again later", "451 4.3.2 Please try again later"
	for _, tc := range []struct {
		step, rcode, xcode string
		lines              []string
		postfix, sendmail  string
	}{
		{"Connect", "550", "", nil, "554 mx.example.org ESMTP not accepting connections", "554 mx.example.org ESMTP not accepting messages"},
		{"Helo", "550", "", nil, "550 5.7.1 Command rejected", "550 5.0.0 Command rejected"},
		{"MailFrom", "550", "", nil, "550 5.7.1 Command rejected", "550 5.7.1 <sender@example.org>... Command rejected"},
		{"RcptTo", "550", "", nil, "550 5.7.1 Command rejected", "550 5.7.1 <recipient@example.com>... Command rejected"},
		{"Data", "550", "", nil, "550 5.7.1 Command rejected", "550 5.7.1 Command rejected"},
		{"Header", "550", "", nil, "550 5.7.1 Command rejected", "554 5.7.1 Command rejected"},
		{"EOM", "550", "", nil, "550 5.7.1 Command rejected", "554 5.7.1 Command rejected"},
		{"Connect", "451", "", nil, unavailable, later},
		{"Helo", "451", "", nil, unavailable, later},
		{"RcptTo", "451", "", nil, unavailable, later},
		{"EOM", "451", "", nil, unavailable, later},
		{"Connect", "550", "5.7.1", []string{"No"}, "554 mx.example.org ESMTP not accepting connections", "554 mx.example.org ESMTP not accepting messages"},
		{"Helo", "550", "5.7.1", []string{"No"}, "550 5.7.1 No", "550 5.7.1 No"},
		{"MailFrom", "550", "5.7.1", []string{"No"}, "550 5.7.1 No", "550 5.7.1 <sender@example.org>... No"},
		{"RcptTo", "450", "4.7.1", []string{"No"}, "450 4.7.1 No", "450 4.7.1 <recipient@example.com>... No"},
		{"RcptTo", "551", "5.7.1", []string{"No"}, "551 5.7.1 No", "551 5.7.1 No"},
		{"Connect", "451", "4.7.1", []string{"a", "", "b"}, "451-4.7.1 a|451-4.7.1|451 4.7.1 b", later},
		{"Helo", "451", "4.7.1", []string{"a", "", "b"}, "451-4.7.1 a|451-4.7.1|451 4.7.1 b", "451-4.7.1 a|451-4.7.1|451 4.7.1 b"},
		{"Connect", "421", "4.7.0", []string{"Gone"}, "421 mx.example.org Service unavailable - try again later", "421 4.7.0 mx.example.org closing connection"},
		{"RcptTo", "421", "4.7.0", []string{"Gone"}, "421 4.7.0 Gone", "421 4.7.0 Gone"},
	} {
		t.Run(tc.step+" "+tc.rcode+" "+strings.Join(tc.lines, ","), func(t *testing.T) {
			t.Parallel()
			f := miltertest.Start(t, milter.SMFIF_NONE, refusing(t, tc.step, tc.rcode, tc.xcode, tc.lines...))
			for want, mta := range map[string]miltertest.MTA{"Postfix: " + tc.postfix: miltertest.Postfix(), "Sendmail: " + tc.sendmail: miltertest.Sendmail()} {
				result := f.With(mta).Send(miltertest.Mail{Data: "A: 1\n\nbody\n"})
				assert.Equal(t, want, mta.Kind.String()+": "+strings.Join(result.Reply.Client, "|"))
				assert.Equal(t, tc.step, result.Step)
				assert.NoError(t, result.Err)
			}
		})
	}
}

// A reply that Postfix takes for malformed is its default action, for all of the session.
func TestMalformedReply(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"Connect", "Helo", "MailFrom", "RcptTo", "Data", "Header", "EOM"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			f := miltertest.Start(t, milter.SMFIF_NONE, refusing(t, step, "550", "4.7.1", "No"))
			mail := miltertest.Mail{To: []string{"a@example.com", "b@example.com"}, Data: "A: 1\n\nbody\n"}
			for onFailure, want := range map[milter.Status]milter.Status{
				0: milter.SMFIS_TEMPFAIL, milter.SMFIS_TEMPFAIL: milter.SMFIS_TEMPFAIL, milter.SMFIS_REJECT: milter.SMFIS_TEMPFAIL, milter.SMFIS_ACCEPT: milter.SMFIS_ACCEPT,
			} {
				mta := miltertest.Postfix()
				mta.OnFailure = onFailure
				c := f.With(mta).Connect()
				for range 2 { // mails
					result := c.Send(mail)
					assert.Equal(t, want, result.Verdict)
					assert.ErrorContains(t, result.Err, step+`: Postfix takes the reply "550 4.7.1 No" for malformed`)
					assert.Equal(t, c.Err(), result.Err)
					if want == milter.SMFIS_ACCEPT {
						assert.Equal(t, []string{"<a@example.com>", "<b@example.com>"}, result.Rcpts)
						assert.Equal(t, "A: 1\r\n\r\nbody\r\n", result.Data())
						assert.Empty(t, result.Reply.Client)
					} else {
						assert.Equal(t, []string{"451 4.3.5 Server configuration problem - try again later"}, result.Reply.Client)
					}
				}
				c.Quit()
			}
			result := f.With(miltertest.Sendmail()).Send(mail)
			assert.Equal(t, milter.SMFIS_REJECT, result.Verdict, "Sendmail passes it on")
			assert.NoError(t, result.Err)
		})
	}
}

// A filter that fails is what OnFailure says.
func TestOnFailure(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
		Helo: func(*milter.Session, string) milter.Status { return milter.SMFIS_SKIP }})
	for onFailure, want := range map[milter.Status]milter.Status{
		0: milter.SMFIS_TEMPFAIL, milter.SMFIS_REJECT: milter.SMFIS_REJECT, milter.SMFIS_ACCEPT: milter.SMFIS_ACCEPT, milter.SMFIS_DISCARD: milter.SMFIS_TEMPFAIL,
	} {
		mta := miltertest.Sendmail()
		mta.OnFailure = onFailure
		c, err := f.With(mta).Dial()
		require.NoError(t, err)
		result := c.Send(miltertest.Mail{To: []string{"a@example.com"}, Data: "A: 1\n\nbody\n"})
		assert.Equal(t, want, result.Verdict)
		require.Error(t, result.Err)
		if want == milter.SMFIS_ACCEPT {
			assert.Equal(t, []string{"<a@example.com>"}, result.Rcpts)
			assert.Equal(t, "A: 1\r\n\r\nbody\r\n", result.Data())
		}
	}
}

// Postfix takes no body with anything between its pieces, and keeps the first piece where it goes
// on without the filter.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(m *milter.Modifier) error{
		"AddHeader": func(m *milter.Modifier) error { return m.AddHeader("X-New", "yes") },
		"Progress":  func(m *milter.Modifier) error { return m.Progress() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := miltertest.Start(t, milter.SMFIF_ADDHDRS|milter.SMFIF_CHGBODY, milter.Callbacks{EOM: func(_ *milter.Session, m *milter.Modifier) milter.Status {
				assert.NoError(t, m.ReplaceBody([]byte("one\r\n")))
				assert.NoError(t, between(m))
				_ = m.ReplaceBody([]byte("two\r\n")) // Postfix may be gone by then
				return milter.SMFIS_CONTINUE
			}})
			result := f.Send(miltertest.Mail{})
			assert.Equal(t, milter.SMFIS_TEMPFAIL, result.Verdict)
			assert.ErrorContains(t, result.Err, "EOM: Postfix takes no more of a new body once something else has come")
			assert.Equal(t, []string{"451 4.3.5 Server configuration problem - try again later"}, result.Reply.Client)

			mta := miltertest.Postfix()
			mta.OnFailure = milter.SMFIS_ACCEPT
			result = f.With(mta).Send(miltertest.Mail{})
			assert.Equal(t, milter.SMFIS_ACCEPT, result.Verdict)
			assert.Equal(t, "one\r\n", result.Body)

			result = f.With(miltertest.Sendmail()).Send(miltertest.Mail{})
			assert.Equal(t, milter.SMFIS_ACCEPT, result.Verdict)
			assert.NoError(t, result.Err)
			assert.Equal(t, "one\r\ntwo\r\n", result.Body)
		})
	}
}

// A mail that does not come by SMTP; TestConversationPostfixLocal and …SendmailLocal compare what
// is sent.
func TestLocalMail(t *testing.T) {
	t.Parallel()
	var seen []string
	f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	for _, tc := range []struct {
		mta  miltertest.MTA
		from string
		want []string
	}{
		{miltertest.Postfix(), "<a@example.org> SIZE=1", []string{`Connect "localhost" "*net.TCPAddr 127.0.0.1:0"`, `Helo "localhost"`, `MailFrom "a@example.org" []`, `RcptTo "b@example.com" []`}},
		{miltertest.Postfix(), "<>", []string{`Connect "localhost" "*net.TCPAddr 127.0.0.1:0"`, `Helo "localhost"`, `MailFrom "" []`, `RcptTo "b@example.com" []`}},
		{miltertest.Sendmail(), "<>", []string{`Connect "localhost" "<nil> <nil>"`, `Helo "localhost"`, `MailFrom "<>" []`, `RcptTo "<b@example.com>" []`}},
	} {
		seen = nil
		result := f.With(tc.mta).Send(miltertest.Mail{Local: true, From: tc.from, To: []string{"<b@example.com>"}})
		assert.Equal(t, tc.want, seen[:4])
		assert.Equal(t, tc.from, result.From)
		assert.Equal(t, []string{"<b@example.com>"}, result.Rcpts)
	}
}

// Postfix has no client to tell: it bounces a mail that is refused, and keeps one that is refused
// for now or at a recipient.
func TestLocalRefusal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		step, rcode string
		want        milter.Status
	}{
		{"Connect", "550", milter.SMFIS_REJECT}, {"MailFrom", "550", milter.SMFIS_REJECT}, {"RcptTo", "550", milter.SMFIS_TEMPFAIL}, {"EOM", "550", milter.SMFIS_REJECT},
		{"MailFrom", "451", milter.SMFIS_TEMPFAIL}, {"RcptTo", "451", milter.SMFIS_TEMPFAIL},
	} {
		f := miltertest.Start(t, milter.SMFIF_NONE, refusing(t, tc.step, tc.rcode, "", "No"))
		mail := miltertest.Mail{Local: true, To: []string{"a@example.com", "b@example.com"}}
		result := f.Send(mail)
		assert.Equal(t, tc.want, result.Verdict, "%s %s", tc.step, tc.rcode)
		assert.Empty(t, result.Reply.Client)
		assert.LessOrEqual(t, len(result.Refused), 1)

		result = f.With(miltertest.Sendmail()).Send(mail)
		assert.NotEmpty(t, result.Reply.Client)
	}
}
