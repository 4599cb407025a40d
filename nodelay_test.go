//go:build cgo && linux

package milter_test

import (
	"fmt"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// changingTwice makes two changes to each mail.
var changingTwice = register("changingTwice", func(*child) *milter.Server {
	return &milter.Server{Actions: milter.SMFIF_ADDHDRS, Callbacks: milter.Callbacks{EOM: func(_ *milter.Session, m *milter.Modifier) milter.Status {
		_ = m.AddHeader("A", "b")
		_ = m.AddHeader("C", "d")
		return milter.SMFIS_CONTINUE
	}}}
})

// On TCP a mail's changes do not wait for each other: an MTA that has nothing to say acknowledges after 40 ms.
func TestChangesAreSentAtOnce(t *testing.T) {
	t.Parallel()
	for kind, addr := range everyAddress(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := startKind(t, changingTwice, kind, addr())
			w := p.session()
			var took []time.Duration
			for range 21 {
				began := time.Now()
				assert.Len(t, w.end(), 3)
				took = append(took, time.Since(began))
			}
			sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
			// Half of them on a machine that is busy; all of them take longer without TCP_NODELAY.
			assert.Less(t, took[len(took)/2], 38*time.Millisecond, fmt.Sprint(took))
			w.Quit()
		})
	}
}
