package header

import (
	"cmp"
	"iter"
	"slices"
)

// sequence is entries in the order of their places: in pieces, so that one of many is soon found, and little is moved to make
// room for another.
type sequence struct {
	pieces [][]*entry // none is empty
	length int
}

const (
	longest = 512 // entries of a piece
	spare   = 8   // for which a new piece has room
)

// newSequence returns the sequence of entries that are in order.
func newSequence(entries []entry) *sequence {
	s := &sequence{length: len(entries)}
	for i := 0; i < len(entries); i += longest / 2 {
		end := min(i+longest/2, len(entries))
		piece := make([]*entry, 0, end-i+spare)
		for k := i; k < end; k++ {
			piece = append(piece, &entries[k])
		}
		s.pieces = append(s.pieces, piece)
	}
	return s
}

// at returns the i-th entry. It panics if there are fewer.
func (s *sequence) at(i int) *entry {
	for _, piece := range s.pieces {
		if i < len(piece) {
			return piece[i]
		}
		i -= len(piece)
	}
	panic("header: no such field")
}

// all returns all entries, which are not to be added to or removed meanwhile.
func (s *sequence) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, piece := range s.pieces {
			for _, e := range piece {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// find returns where the entry of a place is, or where one belongs: which piece, and where in it. There must be a piece.
func (s *sequence) find(place int64) (piece, at int) {
	piece, found := slices.BinarySearchFunc(s.pieces, place, func(piece []*entry, place int64) int {
		return cmp.Compare(piece[0].place, place)
	})
	if !found && piece > 0 {
		piece-- // it begins before the place
	}
	at, _ = slices.BinarySearchFunc(s.pieces[piece], place, func(e *entry, place int64) int {
		return cmp.Compare(e.place, place)
	})
	return piece, at
}

func (s *sequence) add(e *entry) {
	s.length++
	if len(s.pieces) == 0 {
		s.pieces = [][]*entry{{e}}
		return
	}
	p, at := s.find(e.place)
	piece := slices.Insert(s.pieces[p], at, e)
	s.pieces[p] = piece
	if len(piece) > longest {
		const half = longest / 2
		s.pieces[p] = piece[:half:half]
		s.pieces = slices.Insert(s.pieces, p+1, slices.Clone(piece[half:]))
	}
}

func (s *sequence) remove(e *entry) {
	s.length--
	p, at := s.find(e.place)
	s.pieces[p] = slices.Delete(s.pieces[p], at, at+1)
	if len(s.pieces[p]) == 0 {
		s.pieces = slices.Delete(s.pieces, p, p+1)
	}
}
