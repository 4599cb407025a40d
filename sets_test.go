//go:build cgo

package milter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/script"
)

// besideMessage has Message and those of the callbacks named in its argument that make a difference to libmilter's table of
// states: each of the others is registered in any case.
var besideMessage = register("beside Message", func(e *child) *milter.Server {
	srv := &milter.Server{Callbacks: milter.Callbacks{
		Message: func(s *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
			if msg.From.Address != "<a@example.org>" || len(msg.Rcpts) != 1 {
				return milter.SMFIS_REJECT
			}
			return milter.SMFIS_CONTINUE
		},
	}}
	for _, name := range strings.Fields(e.arg) {
		switch name {
		case "Unknown":
			srv.Callbacks.Unknown = func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }
		case "Data":
			srv.Callbacks.Data = func(*milter.Session) milter.Status { return milter.SMFIS_CONTINUE }
		case "EOH":
			srv.Callbacks.EOH = func(*milter.Session) milter.Status { return milter.SMFIS_CONTINUE }
		case "NoBody":
			srv.MaxBody = milter.NoBody
		}
	}
	return srv
})

// libmilter keeps its place in a mail whatever is set beside Message, in a process of its own and with MTAs of all versions.
// See also TestSets in test/message.
func TestSetsAlone(t *testing.T) {
	t.Parallel()
	names := []string{"Unknown", "Data", "EOH", "NoBody"}
	for set := range 1 << len(names) {
		var with []string
		for i, name := range names {
			if set&(1<<i) != 0 {
				with = append(with, name)
			}
		}
		t.Run(strings.Join(with, "+"), func(t *testing.T) {
			t.Parallel()
			versions := []int{2, 6}
			if slices.Contains(with, "Unknown") { // the first that know of it, and the last that know of no DATA
				versions = []int{2, 3, 4, 6}
			}
			for _, version := range versions { // a process for each: the states that are allowed once stay so
				p := start(t, besideMessage, withArg(strings.Join(with, " ")))
				for _, session := range script.All() {
					mta := miltertest.Postfix().WithVersion(version)
					mta.T, mta.Timeout = t, waitLong
					c, err := mta.Dial(p.Addr)
					require.NoError(t, err)
					require.Equal(t, milter.SMFIS_ACCEPT, session.Play(c).Verdict, fmt.Sprint("version ", version, ", ", session))
				}
				p.stop()
			}
		})
	}
}
