// Package message has the micro-benchmark of Callbacks.Message: a process has one filter, so it is not with the others.
package message

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/bench/micro"
)

var socket string

func TestMain(m *testing.M) {
	cb := milter.Callbacks{Message: func(*milter.Session, *milter.Message, *milter.Modifier) milter.Status { return milter.SMFIS_CONTINUE }}
	code, err := micro.Serve(cb, func(path string) int {
		socket = path
		return m.Run()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// BenchmarkMessage is a whole mail of ten fields and 4 KB, and the reply to its end.
func BenchmarkMessage(b *testing.B) {
	m, err := micro.Dial(socket)
	require.NoError(b, err)
	defer func() { require.NoError(b, m.Close()) }()
	require.NoError(b, m.Write(micro.Connect))
	micro.BenchmarkMails(b, m, micro.CollectedMail)
}
