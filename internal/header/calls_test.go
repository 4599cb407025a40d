package header

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// held is what an MTA holds: what the filter was shown, and what it was not.
type held struct {
	Field
	hidden, gone bool
}

// apply makes calls of a header among whose fields are others that are not shown. It knows what Postfix and Sendmail do alike.
func apply(t *testing.T, header []held, calls []Call) (shown []Field) {
	for _, c := range calls {
		switch {
		case c.Op == Insert && c.Index == 0:
			header = slices.Insert(header, 0, held{Field: Field{Name: c.Name, Value: c.Value}})
		case c.Op == Insert && c.Index == behindAll:
			header = append(header, held{Field: Field{Name: c.Name, Value: c.Value}})
		case c.Op == Change:
			number := 0
			for i := range header {
				if h := &header[i]; !h.hidden && ascii.EqualFold(h.Name, c.Name) {
					if number++; number == c.Index {
						h.Value, h.gone = c.Value, c.Value == ""
					}
				}
			}
		default:
			require.Fail(t, "the MTAs differ in this", "%+v", c)
		}
	}
	for _, h := range header {
		if !h.hidden && !h.gone {
			shown = append(shown, Field{Name: h.Name, Value: h.Value})
		}
	}
	return shown
}

var everything = Terms{Add: true, Change: true, Exact: true, MaxSize: 65535, IsPostfix: func() bool { panic("asked which MTA it is") }}

// requireApplied makes the edits of a script, and looks whether the calls make them, whatever else the MTA holds.
func requireApplied(t *testing.T, sent []Field, script []byte) {
	l, m := play(t, sent, script)
	calls := l.Calls(everything)
	random := rand.New(rand.NewPCG(uint64(len(script)), uint64(len(sent))))
	for range 3 {
		var header []held
		hide := func() {
			for random.IntN(3) == 0 {
				header = append(header, held{Field: Field{Name: "Received"}, hidden: true})
			}
		}
		for _, f := range sent {
			hide()
			header = append(header, held{Field: f})
		}
		hide()
		var want []Field
		for _, f := range m.now {
			want = append(want, Field{Name: f.Name, Value: f.Value})
		}
		require.Equal(t, want, apply(t, header, calls), "%+v", calls)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 5, 20, mostMoved} {
		for seed := range uint64(200) {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			script := make([]byte, 4*(1+seed%8))
			for i := range script {
				script[i] = byte(random.Uint32())
			}
			requireApplied(t, fieldsOf(n), script)
		}
	}
}

func FuzzCalls(f *testing.F) {
	f.Add(uint8(3), []byte{1, 0, 0, 1, 6, 1, 0, 0, 5, 0, 0, 0})
	f.Fuzz(func(t *testing.T, n uint8, script []byte) {
		requireApplied(t, fieldsOf(int(n)%mostMoved), script[:min(len(script), 4*16)])
	})
}

// In a header that is too long to look for the fewest calls, too, a field comes to stand where it was put.
func TestCallsLong(t *testing.T) {
	t.Parallel()
	const n = 5_000
	for _, behind := range []int{1, 10, mostMoved} {
		l := NewList(fieldsOf(n))
		l.Insert(0, "N", "front")
		l.Delete(2)
		l.Set(3, "changed")
		l.Insert(l.Len()-behind, "N", "between")
		l.Delete(l.Len() - 1)
		l.Insert(l.Len(), "N", "end")
		var header []held
		for _, f := range fieldsOf(n) {
			header = append(header, held{Field: f})
		}
		var want []Field
		for _, f := range l.Fields() {
			want = append(want, Field{Name: f.Name, Value: f.Value})
		}
		calls := l.Calls(everything)
		assert.Len(t, calls, 6+2*(behind-1))
		assert.True(t, slices.Equal(want, apply(t, header, calls)))
	}
}

// Where new fields cannot be put behind all others, the MTAs are told apart, once there is one between two.
func TestCallsBetween(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		terms func(*Terms)
		sent  int
		size  int // of the values behind
		at    int
		moves bool
	}{
		{name: "all granted", sent: 3, at: 1, moves: true},
		{name: "as many as may be", sent: mostMoved + 1, at: 1, moves: true},
		{name: "one more", sent: mostMoved + 2, at: 1},
		{name: "many, but few behind", sent: 5_000, at: 4_990, moves: true},
		{name: "no change", terms: func(t *Terms) { t.Change = false }, sent: 3, at: 1},
		{name: "blanks not shown", terms: func(t *Terms) { t.Exact = false }, sent: 3, at: 1},
		{name: "as long as may be", sent: 3, at: 1, size: 100 - 7, terms: func(t *Terms) { t.MaxSize = 100 }, moves: true},
		{name: "too long", sent: 3, at: 1, size: 100 - 6, terms: func(t *Terms) { t.MaxSize = 100 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			terms := everything
			asked := 0
			terms.IsPostfix = func() bool { asked++; return asked%2 == 1 }
			if test.terms != nil {
				test.terms(&terms)
			}
			sent := make([]Field, test.sent)
			for i := range sent {
				sent[i] = Field{Name: "F", Value: fmt.Sprint(i)}
				if i >= test.at {
					sent[i].Value = strings.Repeat("v", test.size)
				}
			}
			l := NewList(sent)
			l.Insert(test.at, "N", "n")
			calls := l.Calls(terms)
			if test.moves {
				assert.Zero(t, asked)
				assert.Equal(t, Call{Insert, behindAll, "N", "n"}, calls[test.sent-test.at])
				assert.Len(t, calls, 2*(test.sent-test.at)+1)
				return
			}
			assert.Equal(t, []Call{{Insert, test.at + 1, "N", "n"}}, calls, "Postfix")
			assert.Equal(t, []Call{{Insert, sendmailPlaces + test.at - 1, "N", "n"}}, l.Calls(terms), "Sendmail")
		})
	}
}
