//go:build cgo

package milter

import (
	"os"
	"runtime"
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
