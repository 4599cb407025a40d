//go:build cgo

package milter

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	const most = 1<<announcementBits - 1
	a := announcements{last: most - 2}
	f, g := &filter{}, &filter{}

	first, _ := a.expect(f, 0)
	second, cancel := a.expect(g, 0xffffffff)
	third, _ := a.expect(f, SMFIF_CHGBODY) // past the last number
	assert.Equal(t, uint32(most-1)<<knownActionBits|uint32(v1Actions), first)
	assert.Equal(t, uint32(most)<<knownActionBits|knownActions, second)
	assert.Equal(t, uint32(1)<<knownActionBits|uint32(SMFIF_CHGBODY), third)
	a.last = most - 2
	fourth, _ := a.expect(g, SMFIF_ADDHDRS) // the numbers in use are passed over
	assert.Equal(t, uint32(2)<<knownActionBits|uint32(SMFIF_ADDHDRS), fourth)

	found, ok := a.take(Action(first))
	assert.True(t, ok)
	assert.Equal(t, announcement{f, v1Actions}, found)
	_, ok = a.take(Action(first))
	assert.False(t, ok, "twice")
	cancel()
	_, ok = a.take(Action(second))
	assert.False(t, ok, "taken back")
	found, _ = a.take(Action(fourth))
	assert.Same(t, g, found.filter)
	found, _ = a.take(Action(third))
	assert.Equal(t, SMFIF_CHGBODY, found.offered)
	for _, offer := range []Action{0, SMFIF_ADDHDRS, 0x1ff, 0xffffffff} {
		_, ok = a.take(offer)
		assert.False(t, ok, "never announced")
	}
	assert.Empty(t, a.expected)
}

// A session belongs to one filter: the host's count does not grow with its guests'.
func TestSeat(t *testing.T) {
	t.Parallel()
	host := newFilter(&Server{})
	guest := newFilter(&Server{})
	guest.guest = true
	guest.registered = ^callbacks(0) &^ (&Callbacks{Helo: func(*Session, string) Status { return SMFIS_CONTINUE }}).set()
	offer, _ := guests.expect(guest, SMFIF_ADDHDRS)

	s := &Session{filter: host}
	assert.True(t, host.add(s))
	n := &Negotiation{OfferedActions: Action(offer), Actions: Action(offer), Protocol: SMFIP_SKIP}
	assert.True(t, s.seat(n))
	assert.Equal(t, []int{0, 1}, []int{host.open(), guest.open()})
	assert.Same(t, guest, s.filter)
	assert.Equal(t, Negotiation{OfferedActions: SMFIF_ADDHDRS, Actions: SMFIF_ADDHDRS, Protocol: SMFIP_SKIP | SMFIP_NOHELO}, *n)

	// A guest that has stopped takes none.
	guest.stop()
	offer, _ = guests.expect(guest, 0)
	s = &Session{filter: host}
	assert.True(t, host.add(s))
	assert.False(t, s.seat(&Negotiation{OfferedActions: Action(offer)}))
	assert.Equal(t, []int{1, 0}, []int{host.open(), guest.open()})
}
