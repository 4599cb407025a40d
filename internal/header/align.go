package header

import "slices"

// alignment finds the fewest calls that make one header of another. It is the usual edit distance, where a call that cannot be
// made costs more than all that can, and where new fields are only put in front of all others or behind them, unless they may
// be inserted between two.
type alignment struct {
	Terms
	sent, from []Field // all that were sent, and those that are not the same on both sides
	to         []Field
	front      int  // so many of to may be put in front
	behind     int  // so many are the same behind from and to, and go to the end if one of to does
	between    bool // new fields may be inserted anywhere

	least []int64 // what it costs to make to[j:] of from[i:], at i*(len(to)+1)+j
}

const (
	impossible = 1 << 24 // more than all calls that can be made
	tooMany    = 1 << 16 // what an alignment takes goes with the product: edits of longer headers stay as they were made
)

// align returns the fields with the origins that take the fewest calls, unless there are too many fields.
func align(sent, fields []Field, t Terms, between bool) (aligned []Field, ok bool) {
	a := alignment{Terms: t, sent: sent, from: sent, to: fields, between: between}
	begin, end := 0, 0
	// A new field that is like the first one sent is better put in front than taken for it.
	if between || len(fields) > 0 && fields[0].kept() {
		begin = a.trimFront()
	}
	// And one that stays behind new ones costs more than to put these behind it: not to be seen once both are out of sight.
	if between || a.tooMany() {
		end = a.trimBack()
	}
	if a.tooMany() {
		return nil, false
	}
	if !between {
		a.behind = end
	}
	for begin == 0 && a.front < len(a.to) && !a.to[a.front].kept() {
		a.front++
	}
	a.measure()
	aligned = slices.Clone(fields)
	for k := range aligned {
		aligned[k].Origin = 0
	}
	for k := range begin {
		aligned[k].Origin = k + 1
	}
	if a.trace(aligned[begin:], begin) {
		for k := range end {
			aligned[len(aligned)-1-k].Origin = len(sent) - k
		}
	}
	return aligned, true
}

// trimFront leaves out what is the same in front, and returns how many fields that is.
func (a *alignment) trimFront() (n int) {
	for n < min(len(a.from), len(a.to)) && same(a.from[n], a.to[n]) {
		n++
	}
	a.from, a.to = a.from[n:], a.to[n:]
	return n
}

// trimBack is trimFront for the end.
func (a *alignment) trimBack() (n int) {
	for n < min(len(a.from), len(a.to)) && same(a.from[len(a.from)-1-n], a.to[len(a.to)-1-n]) {
		n++
	}
	a.from, a.to = a.from[:len(a.from)-n], a.to[:len(a.to)-n]
	return n
}

func (a *alignment) tooMany() bool { return (len(a.from)+1)*(len(a.to)+1) > tooMany }

func same(a, b Field) bool { return a.Name == b.Name && a.Value == b.Value }

func (a *alignment) add() int64 {
	if a.Add {
		return 1
	}
	return impossible
}

// change is what a change or a deletion costs.
func (a *alignment) change() int64 {
	if a.Change {
		return 1
	}
	return impossible
}

// keep tells whether to[j] may be made of from[i], and what it costs.
func (a *alignment) keep(i, j int) (cost int64, ok bool) {
	switch f := a.to[j]; {
	case same(a.from[i], f):
		return 0, true
	case a.from[i].Name != f.Name: // which Sendmail would not change
		return 0, false
	case f.Value == "" && f.kept() && a.sent[f.Origin-1].Value == "": // one that was sent so: no change makes it
		return 0, false
	}
	return a.change(), true
}

// insert tells whether to[j] may be inserted before from[i].
func (a *alignment) insert(i, j int) bool { return a.between || i == 0 && j < a.front }

// rest is what it costs to delete all that is left of from, and to put all that is left of to at the end, with all behind it.
func (a *alignment) rest(i, j int) int64 {
	cost := int64(len(a.from)-i) * a.change()
	if j < len(a.to) {
		cost += int64(len(a.to)-j)*a.add() + int64(a.behind)*(a.change()+a.add())
	}
	return cost
}

func (a *alignment) measure() {
	width := len(a.to) + 1
	a.least = make([]int64, (len(a.from)+1)*width)
	for i := len(a.from); i >= 0; i-- {
		for j := len(a.to); j >= 0; j-- {
			here := i*width + j
			least := a.rest(i, j)
			if i < len(a.from) {
				least = min(least, a.least[here+width]+a.change())
			}
			if j < len(a.to) && a.insert(i, j) {
				least = min(least, a.least[here+1]+a.add())
			}
			if i < len(a.from) && j < len(a.to) {
				if cost, ok := a.keep(i, j); ok {
					least = min(least, a.least[here+width+1]+cost)
				}
			}
			a.least[here] = least
		}
	}
}

// trace gives the fields of to their origins, the first of from being the begin-th that was sent. It tells whether those behind
// to stay where they are.
func (a *alignment) trace(to []Field, begin int) (stay bool) {
	width := len(a.to) + 1
	for i, j := 0, 0; ; {
		here := i*width + j
		if i < len(a.from) && j < len(a.to) {
			if cost, ok := a.keep(i, j); ok && a.least[here] == a.least[here+width+1]+cost {
				to[j].Origin = begin + i + 1
				i, j = i+1, j+1
				continue
			}
		}
		switch {
		case i < len(a.from) && a.least[here] == a.least[here+width]+a.change():
			i++
		case j < len(a.to) && a.insert(i, j) && a.least[here] == a.least[here+1]+a.add():
			j++
		default:
			return j == len(a.to) || a.behind == 0
		}
	}
}
