//go:build cgo

package mta

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// TestFeatures runs every case on both MTAs, and compares what was seen with what the document says.
func TestFeatures(t *testing.T) {
	seen := make([]*observed, len(kinds))
	t.Run("on", func(t *testing.T) {
		for i, k := range kinds {
			seen[i] = newObserved(k.name)
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				runAll(t, k, seen[i])
			})
		}
	})
	t.Run("document", func(t *testing.T) { checkDocument(t, seen) })
}

// runAll runs every case on an MTA.
func runAll(t *testing.T, k kind, o *observed) {
	s := setup{ipv6: hasIPv6(), secrets: makeSecrets(t)}
	var stations [allManners]*station
	for s.manner = range allManners {
		stations[s.manner] = newStation(t, k, s)
	}
	for i := range features {
		f := &features[i]
		t.Run(f.name, func(t *testing.T) {
			if f.ipv6 && !s.ipv6 {
				t.Skip("the machine has no ::1")
			}
			lines, tapped := f.play(t, stations[f.manner])
			o.lines[f.name] = lines
			if f.varies {
				assert.Subset(t, lines, f.sure)
			} else {
				assert.Equal(t, f.want, lines)
			}
			if f.model != nil {
				assert.Equal(t, lines, f.model.play(t, k.name, f), "what miltertest says")
			}
			if f.macros {
				o.add(tapped)
			}
		})
	}
	version := k.version.FindStringSubmatch(stations[usually].Log())
	require.NotNil(t, version)
	o.version = k.name + " " + version[1]
	for _, s := range stations {
		require.True(t, harness.Poll(func() bool { return len(s.Queued()) == 0 }), "mails are left in the queue: %v", s.Queued())
		require.Len(t, s.Delivered(), s.expected, "mails that no case was to see")
	}
}
