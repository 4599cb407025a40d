//go:build cgo && linux

package milter_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// undelayed reports, at end of message, TCP_NODELAY of each connection that the process has on TCP.
var undelayed = register("undelayed", func(e *child) *milter.Server {
	return &milter.Server{Callbacks: milter.Callbacks{EOM: func(s *milter.Session, _ *milter.Modifier) milter.Status {
		e.emit(s.ID(), "options", noDelays()...)
		return milter.SMFIS_CONTINUE
	}}}
})

// noDelays gives TCP_NODELAY of the process's connections.
func noDelays() (options []any) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			panic(err)
		}
		if listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil || listens == 1 {
			continue
		}
		if option, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY); err == nil { // it is TCP
			options = append(options, option != 0)
		}
	}
	return options
}

// On TCP a mail's changes do not wait for each other: an MTA that has nothing to say acknowledges after 40 ms.
func TestChangesAreSentAtOnce(t *testing.T) {
	t.Parallel()
	for kind, addr := range everyAddress(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := startKind(t, undelayed, kind, addr())
			w := p.session()
			assert.Len(t, w.end(), 1)
			if network, _ := dialAddr(t, p.Addr); network == "unix" {
				assert.Empty(t, p.awaitName("options").Args)
			} else {
				assert.Equal(t, []string{"true"}, p.awaitName("options").Args)
			}
			w.Quit()
		})
	}
}
