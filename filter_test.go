//go:build cgo

package milter

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A session that begins between the end of the last one and the stop is waited for, not cut off.
func TestFilterStopsIdleOnly(t *testing.T) {
	t.Parallel()
	f := newFilter(&Server{})
	first, second, third := &Session{filter: f}, &Session{filter: f}, &Session{filter: f}

	assert.True(t, f.add(first))
	drained := f.drain()
	assert.Equal(t, drained, f.drain(), "one channel for all who wait")
	assert.True(t, f.remove(first))
	assert.False(t, f.remove(first), "once")
	<-drained

	assert.True(t, f.add(second))
	assert.False(t, f.stopIdle())
	drained = f.drain()
	assert.True(t, f.remove(second))
	<-drained
	assert.True(t, f.stopIdle())
	assert.False(t, f.add(third))
	assert.Zero(t, f.stop())
	<-f.drain()
}

// Sessions that are cut off are released once, whatever still comes from C.
func TestFilterStopReleasesOnce(t *testing.T) {
	t.Parallel()
	f := newFilter(&Server{})
	s := &Session{filter: f}
	assert.True(t, f.add(s))
	ctx := s.Context()
	assert.Equal(t, 1, f.stop())
	<-ctx.Done()
	assert.False(t, f.remove(s))
	assert.Zero(t, f.stop())
	assert.Equal(t, int64(1), f.stats.cutOff.Load())
}
