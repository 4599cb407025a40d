package message

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// The last piece of a body may come in one packet with the end of the message. It is collected as the others are, and the
// end of the message answered, once.
func TestLastPieceWithEnd(t *testing.T) {
	t.Parallel()
	const piece = 65535
	segment := func(protocol milter.Protocol, status milter.Status) *milter.Server {
		srv := &milter.Server{Protocol: protocol}
		srv.Callbacks.Segment = func(*milter.Session, []byte) milter.Status { return status }
		return srv
	}
	for name, server := range map[string]func() *milter.Server{
		"Message":   func() *milter.Server { return &milter.Server{} },
		"MaxBody":   func() *milter.Server { return &milter.Server{MaxBody: 100_000} },
		"MaxBody 1": func() *milter.Server { return &milter.Server{MaxBody: 1} },
		"NoBody":    func() *milter.Server { return &milter.Server{MaxBody: milter.NoBody} },
		"Segment":   func() *milter.Server { return segment(0, milter.SMFIS_CONTINUE) },
		"Segment without answer": func() *milter.Server {
			return segment(milter.SMFIP_NR_BODY, milter.SMFIS_NOREPLY)
		},
		"Segment skips": func() *milter.Server { return segment(milter.SMFIP_SKIP, milter.SMFIS_SKIP) },
	} {
		for _, version := range []int{6, 2} {
			if name == "Segment skips" && version < 6 {
				continue // which has no such thing
			}
			t.Run(fmt.Sprint(name, ", version ", version), func(t *testing.T) {
				t.Parallel()
				var got mails
				srv := server()
				srv.TempDir = t.TempDir()
				srv.Callbacks.Message = got.add
				mta := miltertest.Postfix().WithVersion(version)
				c := miltertest.StartServer(t, srv).With(mta).Connect()
				for _, before := range []int{0, 1, piece, 2 * piece, 5 * piece} {
					for _, last := range []int{0, 1, 100, piece} {
						body := strings.Repeat("0123456789abcde\n", (before+last)/16+1)[:before+last]
						c.MailFrom("a@example.org")
						c.RcptTo("b@example.org")
						c.Header("Subject", "x")
						skipped := false
						for rest := body[:before]; rest != "" && !skipped; {
							n := min(len(rest), piece)
							skipped = c.Segment(rest[:n]).Status == milter.SMFIS_SKIP
							rest = rest[n:]
						}
						c.Write('E', body[before:])
						require.Equal(t, miltertest.Packet{Code: 'c'}, c.Read(), "%d and %d bytes", before, last)
						seen := got.take()
						require.Len(t, seen, 1)
						checkCollected(t, srv, seen[0], body, before)
					}
				}
				c.Quit()
			})
		}
	}
}

// checkCollected requires of a mail what its server keeps of a body, of which so many bytes came before the last piece.
func checkCollected(t *testing.T, srv *milter.Server, seen mail, body string, before int) {
	t.Helper()
	const piece = 65535
	want := len(body)
	switch {
	case srv.MaxBody == milter.NoBody:
		want = 0
	case srv.MaxBody > 0:
		want = min(want, int(srv.MaxBody))
		assert.Equal(t, len(body) > want, seen.Truncated)
	case srv.Protocol == milter.SMFIP_SKIP && before > 0:
		want = min(before, piece)
		assert.True(t, seen.Truncated)
	}
	assert.True(t, body[:want] == seen.Body, "%d bytes, not %d", len(seen.Body), want)
}
