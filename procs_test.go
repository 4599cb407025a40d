//go:build cgo

package milter_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// scheduled reports GOMAXPROCS: before the server runs, in a callback, and when it has stopped.
var scheduled = register("scheduled", func(e *child) *milter.Server {
	e.emit(0, "before", runtime.GOMAXPROCS(0))
	srv := &milter.Server{KeepGOMAXPROCS: e.arg == "keep"}
	closed := make(chan struct{})
	srv.Callbacks.Close = func(*milter.Session) {
		e.emit(0, "running", runtime.GOMAXPROCS(0))
		close(closed)
	}
	served := e.serving(srv)
	<-closed
	_ = srv.Shutdown(context.Background())
	<-served
	e.emit(0, "after", runtime.GOMAXPROCS(0))
	return nil
})

// withProcs starts a filter with the environment variable GOMAXPROCS, or without if it is "".
func withProcs(n string) option {
	return func(p *process) { p.cmd.Env = append(p.cmd.Environ(), "GOMAXPROCS="+n) }
}

func TestProcs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env, arg string
		raised   bool
	}{
		"raised":          {"", "", true},
		"kept":            {"", "keep", false},
		"the environment": {"3", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, scheduled, withProcs(test.env), withArg(test.arg))
			p.connect().Close()
			p.exits()
			before, running, after := p.awaitName("before").Args, p.awaitName("running").Args, p.awaitName("after").Args
			assert.Equal(t, before, after)
			if n, err := strconv.Atoi(before[0]); assert.NoError(t, err) && test.raised && n < 16 {
				assert.Equal(t, []string{"16"}, running)
			} else {
				assert.Equal(t, before, running)
			}
		})
	}
}
