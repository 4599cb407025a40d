package message

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// A recipient that the MTA has refused and shows all the same, as it was asked to, is not one of the mail's, whatever macros
// are asked for.
func TestRefusedByMTA(t *testing.T) {
	t.Parallel()
	const rejected = milter.SMFIP_RCPT_REJ
	list := func(macros ...string) func(*milter.Session, *milter.Negotiation) milter.Status {
		return func(_ *milter.Session, n *milter.Negotiation) milter.Status {
			n.Protocol |= rejected
			if err := n.SetSymList(milter.SMFIM_ENVRCPT, macros...); err != nil {
				panic(err)
			}
			return milter.SMFIS_CONTINUE
		}
	}
	bare := miltertest.Postfix() // as its postmaster has set it
	bare.MacroLists[milter.SMFIM_ENVRCPT] = []string{"{rcpt_addr}"}
	for name, test := range map[string]struct {
		mta       miltertest.MTA
		macros    map[milter.Stage][]string
		negotiate func(*milter.Session, *milter.Negotiation) milter.Status
	}{
		"by itself":         {mta: miltertest.Postfix()},
		"Sendmail":          {mta: miltertest.Sendmail()},
		"not by itself":     {mta: bare},
		"Macros":            {mta: bare, macros: map[milter.Stage][]string{milter.SMFIM_ENVRCPT: {"i"}}},
		"other Macros":      {mta: bare, macros: map[milter.Stage][]string{milter.SMFIM_CONNECT: {"j"}}},
		"SetSymList":        {mta: bare, negotiate: list("i")},
		"SetSymList of all": {mta: bare, negotiate: list("{rcpt_mailer}", "i")},
		"SetSymList, none":  {mta: bare, negotiate: list()},
		"Negotiate": {mta: bare, negotiate: func(_ *milter.Session, n *milter.Negotiation) milter.Status {
			n.Protocol |= rejected
			return milter.SMFIS_CONTINUE
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got mails
			srv := &milter.Server{Macros: test.macros, Callbacks: milter.Callbacks{Message: got.add, Negotiate: test.negotiate}}
			if test.negotiate == nil {
				srv.Protocol = rejected
			}
			c := miltertest.StartServer(t, srv).With(test.mta).Connect()
			c.MailFrom("a@example.org")
			c.RcptTo("b@example.org")
			if test.mta.Kind == bare.Kind && name != "by itself" {
				require.Contains(t, rcptMacros(c), "{rcpt_mailer}")
			}
			c.Write('D', "R{rcpt_addr}\x00no such user\x00{rcpt_mailer}\x00error\x00")
			c.Write('R', "<refused@example.org>\x00")
			c.RcptTo("c@example.org")
			require.Equal(t, milter.SMFIS_ACCEPT, c.EOM().Verdict)
			c.Quit()
			assert.Equal(t, []milter.Path{{Address: "<b@example.org>"}, {Address: "<c@example.org>"}}, got.take()[0].Rcpts)
		})
	}
}

// rcptMacros are those that a filter has asked for with recipients.
func rcptMacros(c *miltertest.Conn) []string {
	negotiation := c.Transcript()[1].Data
	_, list, _ := strings.Cut(negotiation[12:], "\x00\x00\x00\x03")
	list, _, _ = strings.Cut(list, "\x00")
	return strings.Fields(list)
}
