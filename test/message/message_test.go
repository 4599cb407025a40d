package message

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// A mail comes whole, and its header is edited.
func TestMessage(t *testing.T) {
	t.Parallel()
	ct := miltertest.InCallback(t)
	f := miltertest.Start(t, milter.SMFIF_ADDHDRS|milter.SMFIF_CHGHDRS, milter.Callbacks{
		Message: func(s *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
			t.Logf("%q %v %q %+v %+v", msg.Host, msg.Addr, msg.Helo, msg.From, msg.Rcpts)
			for name, value := range msg.Header.All() {
				t.Logf("%q %q", name, value)
			}
			t.Logf("%q", msg.Body[:min(len(msg.Body), 100)])
			require.NoError(ct, msg.Header.Set("Subject", "[outside] "+msg.Header.Get("subject")))
			require.NoError(ct, msg.Header.Add("X-Checked", "yes"))
			require.NoError(ct, m.AddHeader("X-Direct", "yes"))
			return milter.SMFIS_CONTINUE
		},
	})
	r := f.Send(miltertest.Mail{Data: "From: a@example.org\nSubject: hi\nX-Other: 1\n\n" + strings.Repeat("line\r\n", 100000)})
	t.Log(r.Transcript)
	assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict)
	t.Log(r.Header)
}
