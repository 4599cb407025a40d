package sendmail

import (
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// running is what a victim says of its server.
type running struct{ Dir, Addr string }

// TestNothingLeft ends a test in every way, in a process of its own, and looks for what its server left behind.
func TestNothingLeft(t *testing.T) {
	harness.RequireRoot(t, "Sendmail")
	requirePrograms(t)
	requireName(t)
	for _, end := range harness.Ends {
		t.Run(end, func(t *testing.T) {
			var victims []running
			out := harness.RunVictim(t, end, &victims)
			if end == "fails" {
				assert.Contains(t, out, "220 mail.example.org ESMTP Sendmail", "the log is shown")
			}
			for _, victim := range victims {
				harness.AssertNothingLeft(t, victim.Dir, victim.Addr)
			}
		})
	}
}

// TestVictim is what TestNothingLeft runs: servers with an open connection each, in a test that ends as it is told.
func TestVictim(t *testing.T) {
	harness.RequireVictim(t)
	harness.EndVictim(t, []running{startBusy(t, Config{}), startBusy(t, Config{Daemon: true})})
}

// startBusy starts a server and begins a mail.
func startBusy(t *testing.T, cfg Config) running {
	s := Start(t, cfg)
	conn, err := textproto.Dial("tcp", s.Addr())
	require.NoError(t, err)
	for _, line := range []string{"", "EHLO client.example.org", "MAIL FROM:<a@example.com>"} {
		if line != "" {
			require.NoError(t, conn.PrintfLine("%s", line))
		}
		_, _, err = conn.ReadResponse(2)
		require.NoError(t, err)
	}
	require.NotEmpty(t, harness.ProcessesIn(s.dir))
	return running{s.dir, s.Addr()}
}
