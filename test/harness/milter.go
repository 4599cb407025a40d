package harness

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// StartMilter serves a milter until the test ends, and returns its address: on the network "unix" a socket in a folder
// that other users can enter, on "tcp4" a port of 127.0.0.1. It is not made with libmilter, so that the tests of an MTA
// say nothing of this module.
//
// The milter adds the field "X-Filtered: yes" to each mail, but rejects that of reject@example.com with a reply of two
// lines, and puts that of hold@example.com in quarantine.
func StartMilter(t *testing.T, network string) net.Addr {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(TempDir(t, "milter-"), "milter.sock")
	}
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	server := milter.NewServer(
		milter.WithMilter(func() milter.Milter { return &testMilter{} }),
		milter.WithActions(milter.OptAddHeader|milter.OptQuarantine),
	)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		assert.NoError(t, <-served)
	})
	return l.Addr()
}

// testMilter does with a mail what its sender's name says.
type testMilter struct {
	milter.NoOpMilter
	from string
}

func (m *testMilter) MailFrom(from, _ string, _ milter.Modifier) (*milter.Response, error) {
	m.from = from
	return milter.RespContinue, nil
}

func (m *testMilter) EndOfMessage(mod milter.Modifier) (*milter.Response, error) {
	switch m.from {
	case "reject@example.com":
		return milter.RejectWithCodeAndReason(550, "5.7.1 first line\nsecond line")
	case "hold@example.com":
		return milter.RespAccept, mod.Quarantine("looks odd")
	default:
		return milter.RespAccept, mod.AddHeader("X-Filtered", "yes")
	}
}
