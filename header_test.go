//go:build cgo

package milter_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// A Header that is of no mail can be made, and edited as any other.
func TestHeaderOfNoMail(t *testing.T) {
	t.Parallel()
	h := new(milter.Header)
	for range h.All() {
		assert.Fail(t, "it has a field")
	}
	assert.Zero(t, h.Len())
	assert.Empty(t, h.Get("A"))
	assert.False(t, h.Has("A"))
	assert.Nil(t, h.Values("A"))
	assert.NoError(t, h.Del("A"))
	assert.ErrorIs(t, h.SetAt(0, "1"), milter.ErrArgument)
	assert.ErrorIs(t, h.DelAt(0), milter.ErrArgument)
	assert.NoError(t, h.Set("A", "1"))
	assert.NoError(t, h.Insert(0, "B", "2"))
	assert.Equal(t, "1", h.Get("a"))
	name, value := h.At(0)
	assert.Equal(t, []string{"B", "2"}, []string{name, value})
	h.Reset()
	assert.Zero(t, h.Len())
	for range h.All() {
		assert.Fail(t, "it has a field")
	}
}

// One operation is n edits of a header of n fields, or n looks into it.
func BenchmarkHeader(b *testing.B) {
	for _, test := range []struct {
		name string
		do   func(h *milter.Header, i, n int) error
	}{
		{"Add", func(h *milter.Header, _, _ int) error { return h.Add("N", "n") }},
		{"Insert/front", func(h *milter.Header, _, _ int) error { return h.Insert(0, "N", "n") }},
		{"Insert/middle", func(h *milter.Header, _, n int) error { return h.Insert(n/2, "N", "n") }},
		{"Insert/everywhere", func(h *milter.Header, i, _ int) error { return h.Insert(i*7919%h.Len(), "N", "n") }},
		{"SetAt", func(h *milter.Header, i, n int) error { return h.SetAt(i*7919%n, "n") }},
		{"Set/one", func(h *milter.Header, i, _ int) error { return h.Set("X-"+strconv.Itoa(i), "n") }},
		{"Set/all", func(h *milter.Header, _, _ int) error { return h.Set("F", "n") }},
		{"DelAt", func(h *milter.Header, i, _ int) error { return h.DelAt(i * 7919 % h.Len()) }},
		{"Del/one", func(h *milter.Header, i, _ int) error { return h.Del("X-" + strconv.Itoa(i)) }},
		{"Del/missing", func(h *milter.Header, _, _ int) error { return h.Del("N") }},
		{"Get/one", func(h *milter.Header, i, _ int) error { h.Get("X-" + strconv.Itoa(i)); return nil }},
		{"Get/missing", func(h *milter.Header, _, _ int) error { h.Get("N"); return nil }},
		{"Get/deleted", func(h *milter.Header, _, _ int) error { h.Get("F"); return h.DelAt(h.Len() - 1) }},
		{"At", func(h *milter.Header, i, n int) error {
			h.At(i * 7919 % n)
			return h.SetAt(0, "n")
		}},
	} {
		for _, n := range []int{30, 300, 3_000, 30_000} {
			b.Run(fmt.Sprintf("%s/%d", test.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					h := new(milter.Header)
					for i := range n {
						name := "F"
						if i%2 == 0 {
							name = "X-" + strconv.Itoa(i)
						}
						if err := h.Add(name, "value"); err != nil {
							b.Fatal(err)
						}
					}
					b.StartTimer()
					for i := range n {
						if err := test.do(h, i, n); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
