//go:build cgo

package mta

import (
	"bufio"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// stages are the steps that an MTA can send macros for, by their letter on the wire, in the order of a session.
var stages = []struct {
	letter byte
	name   string
}{
	{'C', "connect"}, {'H', "helo"}, {'M', "mailfrom"}, {'R', "rcptto"}, {'T', "data"}, {'L', "header"}, {'N', "eoh"},
	{'B', "segment"}, {'E', "eom"}, {'U', "unknown"},
}

// tap lies between an MTA and a filter, and notes which macros the MTA sends, and when: smfi_getsymval does not tell a
// macro of this step from one of an earlier step.
type tap struct {
	l      net.Listener
	filter string // its socket
	done   sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn                 // of the MTA
	macros map[byte]map[string]string // by the letter of the stage, then by name
}

// startTap listens where the MTA looks for the filter, until the test ends.
func startTap(t testing.TB, socket, filter string) *tap {
	t.Helper()
	_ = os.Remove(socket) // of an earlier filter
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(socket, socketMode))
	w := &tap{l: l, filter: filter, macros: map[byte]map[string]string{}}
	w.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			w.mu.Lock()
			w.conns = append(w.conns, conn)
			w.mu.Unlock()
			w.done.Go(func() { w.join(conn) })
		}
	})
	t.Cleanup(w.stop)
	return w
}

// stop ends all connections.
func (w *tap) stop() {
	_ = w.l.Close()
	w.mu.Lock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.done.Wait()
}

// join hands on what the two ends of a connection say, and hears the MTA.
func (w *tap) join(mta net.Conn) {
	defer mta.Close()
	filter, err := net.Dial("unix", w.filter)
	if err != nil {
		return
	}
	defer filter.Close()
	go func() {
		_, _ = io.Copy(mta, filter)
		_ = mta.Close()
	}()
	in := bufio.NewReader(io.TeeReader(mta, filter))
	for {
		packet, err := readPacket(in)
		if err != nil {
			return
		}
		if len(packet) > 1 && packet[0] == 'D' {
			w.note(packet[1], string(packet[2:]))
		}
	}
}

// readPacket reads a packet of the milter protocol: four bytes of length, a letter, data.
func readPacket(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(r, packet)
	return packet, err
}

// note keeps the macros of a packet: name and value in turn, each with a NUL at its end.
func (w *tap) note(stage byte, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.macros[stage] == nil {
		w.macros[stage] = map[string]string{}
	}
	parts := strings.Split(text, "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		w.macros[stage][parts[i]] = parts[i+1]
	}
}

// names are the macros of a stage.
func (w *tap) names(stage byte) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.macros[stage]))
}
