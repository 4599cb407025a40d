package main

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSessionsAreReproducible(t *testing.T) {
	t.Parallel()
	for _, hostile := range []bool{false, true} {
		for number := range uint64(200) {
			require.Equal(t, generate(1, number, hostile), generate(1, number, hostile), "session %d", number)
		}
	}
	assert.NotEqual(t, generate(1, 2, false), generate(2, 2, false), "another seed")
	assert.NotEqual(t, generate(1, 2, false), generate(1, 3, false), "another number")
}

func TestPiecesAreTheStream(t *testing.T) {
	t.Parallel()
	for number := range uint64(2000) {
		s := generate(1, number, false)
		var joined []byte
		for _, p := range s.pieces {
			require.NotEmpty(t, p.bytes)
			joined = append(joined, p.bytes...)
		}
		require.True(t, bytes.Equal(s.stream, joined), "session %d, %s", number, s.how)
	}
}

// Most sessions are what an MTA could send, or they would not get deep.
func TestMostSessionsReachTheEndOfAMail(t *testing.T) {
	t.Parallel()
	ended := 0
	for number := range uint64(1000) {
		var codes []byte
		for p := range packets(generate(1, number, false).stream) {
			codes = append(codes, p.code)
		}
		if slices.Index(codes, 'O') == 0 && bytes.Contains(codes, []byte("E")) {
			ended++
		}
	}
	assert.Greater(t, ended, 600)
}

func TestTame(t *testing.T) {
	t.Parallel()
	offer := newPacket('O', make([]byte, 12))
	for name, tc := range map[string]struct{ sent, want []packet }{
		"even macros stay": {
			[]packet{offer, newPacket('D', []byte("Ca\x00b\x00"))},
			[]packet{offer, newPacket('D', []byte("Ca\x00b\x00"))}},
		"no value": {
			[]packet{offer, newPacket('D', []byte("Ca\x00b\x00c\x00"))},
			[]packet{offer, newPacket('D', []byte("Ca\x00b\x00cx"))}},
		"macros before the negotiation": {
			[]packet{newPacket('D', []byte("Ca\x00b\x00")), newPacket('D', []byte("Ca\x00b\x00")), offer},
			[]packet{newPacket('D', []byte("\x00a\x00b\x00")), newPacket('D', []byte("\x00a\x00b\x00")), offer}},
		"unknown command": {
			[]packet{offer, newPacket('U', []byte("FOO"))},
			[]packet{offer, newPacket('U', []byte("FO\x00"))}},
		"nothing to change": {
			[]packet{offer, newPacket('U'), newPacket('D'), newPacket('E')},
			[]packet{offer, newPacket('U'), newPacket('D'), newPacket('E')}},
		"a length that lies": {
			[]packet{offer, {length: 9, code: 'B'}, newPacket('U', []byte("abcd"))},
			[]packet{offer, {length: 9, code: 'B'}, newPacket('U', []byte("abcd"))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := join(tc.sent)
			tame(stream)
			assert.Equal(t, join(tc.want), stream)
		})
	}
}

func join(packets []packet) (stream []byte) {
	for _, p := range packets {
		stream = p.append(stream)
	}
	return stream
}

// Whatever the generator does, a tame stream has none of what tame takes out.
func TestTameSessionsAreTame(t *testing.T) {
	t.Parallel()
	for number := range uint64(5000) {
		stream := generate(3, number, false).stream
		again := bytes.Clone(stream)
		tame(again)
		require.True(t, bytes.Equal(stream, again), "session %d", number)
	}
}
