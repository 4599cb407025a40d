//go:build cgo

package milter

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// minProcs is how many Ps a server has at least, see Server.KeepGOMAXPROCS.
const minProcs = 16

// raiseProcs gives the Go scheduler room for libmilter's threads, and gives back a function that takes it away again.
func (srv *Server) raiseProcs() (restore func()) {
	before := runtime.GOMAXPROCS(0)
	if srv.KeepGOMAXPROCS || srv.host || os.Getenv("GOMAXPROCS") != "" || before >= minProcs {
		return func() {}
	}
	runtime.GOMAXPROCS(minProcs)
	return func() {
		if runtime.GOMAXPROCS(0) == minProcs { // nobody has had other wishes since
			runtime.GOMAXPROCS(before)
		}
	}
}

// makePoller has Go make its network poller while there are descriptors for it. Go makes it at the
// process's first timer, and ends the process if it cannot: that may be when as many MTAs have
// connected as the process may have descriptors.
func makePoller() error {
	var room [2]int // as many as it takes
	if err := syscall.Pipe2(room[:], syscall.O_CLOEXEC); err != nil {
		return fmt.Errorf("no file descriptors for Go's network poller: %w", err)
	}
	_, _ = syscall.Close(room[0]), syscall.Close(room[1])
	time.AfterFunc(time.Hour, func() {}).Stop()
	return nil
}
