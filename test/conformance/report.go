package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// following is how many lines are shown behind the first that differs, unless the session is repeated to see them all.
const following = 12

// report prints a session and what the filters answered.
func report(w io.Writer, b *batch, o outcome) {
	limit := following
	if b.trace {
		limit = math.MaxInt
	}
	fmt.Fprintf(w, "\n=== session %d: libmilter's model %s, policy %s, seed %d\n", o.number, b.model.name, b.policy.name, b.seed)
	fmt.Fprintf(w, "=== repeat: %s\n", b.repeat(o.number))
	for _, err := range []error{o.c.err, o.golang.err} {
		if err != nil {
			fmt.Fprintf(w, "=== %v\n", err)
		}
	}
	fmt.Fprintf(w, "\nSent, %s:\n", o.session.how)
	for _, line := range decode(o.session.stream, true) {
		fmt.Fprintf(w, "     %s\n", line)
	}
	fmt.Fprintf(w, "\nCallbacks, what they answered, and the hash of what they were given:\n")
	compare(w, limit, o.c.notes, o.golang.notes)
	fmt.Fprintf(w, "\nReplies:\n")
	compare(w, limit, decode(o.c.stream, false), decode(o.golang.stream, false))
	if !slices.Equal(o.c.stream, o.golang.stream) {
		fmt.Fprintf(w, "     The streams differ from byte %d.\n", firstDifference(o.c.stream, o.golang.stream))
	}
}

// compare prints the lines of both filters: those that are the same once, and from the first that differs on, which is
// marked, those of one after those of the other.
func compare(w io.Writer, limit int, c, golang []string) {
	same := firstDifference(c, golang)
	for _, line := range c[:same] {
		fmt.Fprintf(w, "     %s\n", line)
	}
	if same == len(c) && same == len(golang) {
		return
	}
	differing(w, limit, "C ", c[same:])
	differing(w, limit, "Go", golang[same:])
}

func differing(w io.Writer, limit int, name string, lines []string) {
	mark := ">>"
	if len(lines) == 0 {
		fmt.Fprintf(w, "%s %s nothing\n", mark, name)
	}
	for i, line := range lines {
		if i > limit {
			fmt.Fprintf(w, "   %s … and %d more\n", name, len(lines)-i)
			return
		}
		fmt.Fprintf(w, "%s %s %s\n", mark, name, line)
		mark = "  "
	}
}

// firstDifference is the index of the first element that differs, or that only one has.
func firstDifference[T comparable](a, b []T) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
