package header

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// model is what a List does, in the plainest way.
type model struct{ sent, now []Field }

func newModel(sent []Field) *model {
	m := &model{sent: slices.Clone(sent)}
	for i := range m.sent {
		m.sent[i].Origin = i + 1
	}
	m.reset()
	return m
}

func (m *model) reset() { m.now = slices.Clone(m.sent) }

func (m *model) named(name string) (named []Field) {
	for _, f := range m.now {
		if ascii.EqualFold(f.Name, name) {
			named = append(named, f)
		}
	}
	return named
}

func (m *model) deleteNamed(from int, name string) {
	rest := slices.DeleteFunc(slices.Clone(m.now[from:]), func(f Field) bool { return ascii.EqualFold(f.Name, name) })
	m.now = append(m.now[:from:from], rest...)
}

func (m *model) setNamed(name, value string) {
	first := slices.IndexFunc(m.now, func(f Field) bool { return ascii.EqualFold(f.Name, name) })
	m.now[first].Value = value
	m.deleteNamed(first+1, name)
}

// names of fields in tests; few, so that they are there more than once.
var names = []string{"A", "a", "B", "Subject", "From", "Message-Id"}

func fieldsOf(n int) (fields []Field) {
	for i := range n {
		fields = append(fields, Field{Name: names[i*7%len(names)], Value: fmt.Sprint(i)})
	}
	return fields
}

// play makes the edits that bytes stand for, of a list and of its model.
func play(t *testing.T, sent []Field, script []byte) (*List, *model) {
	m := newModel(sent)
	l := NewList(slices.Clone(sent))
	for step := 0; len(script) >= 4; step++ {
		op, name, value := script[0]%8, names[int(script[1])%len(names)], fmt.Sprint("v", step%3)
		i := int(script[2])<<8 | int(script[3])
		script = script[4:]
		kept := slices.Clone(l.Fields())
		before := l.Fields()
		switch at := i % max(l.Len(), 1); {
		case op == 0:
			l.Insert(l.Len(), name, value)
			m.now = append(m.now, Field{name, value, 0})
		case op == 1 || op == 2:
			i %= l.Len() + 1
			l.Insert(i, name, value)
			m.now = slices.Insert(m.now, i, Field{name, value, 0})
		case op == 3 && l.Len() > 0:
			l.Set(at, value)
			m.now[at].Value = value
		case op == 4 && l.Len() > 0:
			l.Delete(at)
			m.now = slices.Delete(m.now, at, at+1)
		case op == 5 && len(m.named(name)) > 0:
			l.SetNamed(name, value)
			m.setNamed(name, value)
		case op == 6:
			l.DeleteNamed(name)
			m.deleteNamed(0, name)
		case op == 7 && i%16 == 0:
			l.Reset()
			m.reset()
		}
		require.Equal(t, kept, before, "what was returned before stays")
		requireSame(t, m, l, name, i)
	}
	return l, m
}

func requireSame(t *testing.T, m *model, l *List, name string, i int) {
	require.Equal(t, len(m.now), l.Len())
	if len(m.now) > 0 { // before Fields, after which it is read from those
		require.Equal(t, m.now[i%len(m.now)], l.At(i%len(m.now)))
	}
	named := m.named(name)
	require.Equal(t, named, l.Named(name))
	first, ok := l.First(name)
	require.Equal(t, len(named) > 0, ok)
	require.Equal(t, append(named, Field{})[0], first)
	require.True(t, slices.Equal(m.now, l.Fields()))
}

func TestList(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 5, long - 1, long, longest, 3 * longest} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(n), 0))
			script := make([]byte, 4*600)
			for i := range script {
				script[i] = byte(random.Uint32())
			}
			play(t, fieldsOf(n), script)
		})
	}
}

func FuzzList(f *testing.F) {
	f.Add(uint16(3), []byte{1, 0, 0, 1, 6, 1, 0, 0, 5, 0, 0, 0, 7, 0, 0, 16})
	f.Add(uint16(long), []byte{4, 0, 0, 1, 5, 1, 0, 0, 2, 0, 0, 3})
	f.Fuzz(func(t *testing.T, n uint16, script []byte) {
		play(t, fieldsOf(int(n%2048)), script[:min(len(script), 4*64)])
	})
}

func TestListPanics(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*List){"none": func(*List) {}, "edited": func(l *List) { l.Set(0, "n") }} {
		for _, i := range []int{-1, 3, 1000} {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				t.Parallel()
				l := NewList(fieldsOf(3))
				edit(l)
				assert.Panics(t, func() { l.At(i) })
				assert.Panics(t, func() { l.Set(i, "n") })
				assert.Panics(t, func() { l.Delete(i) })
			})
		}
	}
}

// What an edit costs is how many pieces there are, how long they are, how often the places are spread, and what is allocated:
// none of it is the number of fields, over and over.
func TestListCost(t *testing.T) {
	for name, edit := range map[string]func(l *List, i, n int){
		"at the end":                 func(l *List, _, _ int) { l.Insert(l.Len(), "N", "n") },
		"in front":                   func(l *List, _, _ int) { l.Insert(0, "N", "n") },
		"in the middle":              func(l *List, _, n int) { l.Insert(n/2, "N", "n") },
		"everywhere":                 func(l *List, i, _ int) { l.Insert(i*7919%l.Len(), "N", "n") },
		"one behind the other":       func(l *List, i, _ int) { l.Insert(2*i+1, "N", "n") },
		"set":                        func(l *List, i, n int) { l.Set(i, "n") },
		"deleted everywhere":         func(l *List, i, _ int) { l.Delete(i * 7919 % l.Len()) },
		"deleted, and inserted":      func(l *List, i, _ int) { l.Delete(0); l.Insert(l.Len()/2, "N", "n") },
		"names, all set":             func(l *List, _, _ int) { l.SetNamed("F", "n"); l.Insert(0, "F", "n") },
		"names, all deleted":         func(l *List, _, _ int) { l.DeleteNamed("f"); l.Insert(0, "F", "n") },
		"names, the first looked at": func(l *List, _, _ int) { l.First("F"); l.Delete(0) },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 30_000
			sent := make([]Field, n)
			for i := range sent {
				sent[i] = Field{Name: "F", Value: "v"}
			}
			l := NewList(sent)
			l.edit()
			l.index()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for i := range n {
				edit(l, i, n)
			}
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(400*n), "bytes")
			assert.LessOrEqual(t, l.spreads, n/30, "spreads")
			for _, s := range []*sequence{l.order, l.names["f"]} {
				if s == nil {
					continue
				}
				assert.LessOrEqual(t, len(s.pieces), 250, "pieces")
				for _, piece := range s.pieces {
					assert.LessOrEqual(t, len(piece), 512)
					assert.NotEmpty(t, piece)
				}
			}
		})
	}
}
