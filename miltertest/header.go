package miltertest

import (
	"strings"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// Field is one field of a header.
type Field struct {
	// Name is what stands before the colon.
	Name string
	// Value is what follows the colon and one space. Lines of a folded value are parted by LF.
	Value string
	// NoSpace tells that no space follows the colon: Value begins at once, perhaps with a tab.
	NoSpace bool
}

// Header is a mail's header, in order.
type Header []Field

// Get gives the value of the first field of this name, whatever its case; "" if there is none.
func (h Header) Get(name string) string {
	for _, f := range h {
		if ascii.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Values gives the values of all fields of this name, whatever its case; nil if there is none.
func (h Header) Values(name string) (values []string) {
	for _, f := range h {
		if ascii.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// String gives the header as it stands in a mail, its lines ended with LF.
func (h Header) String() string {
	var b strings.Builder
	for _, f := range h {
		b.WriteString(f.Name + ":" + f.raw() + "\n")
	}
	return b.String()
}

// raw gives all that follows the colon.
func (f Field) raw() string {
	if f.NoSpace {
		return f.Value
	}
	return " " + f.Value
}

// newField makes a field of all that follows its colon.
func newField(name, raw string) Field {
	value, space := strings.CutPrefix(raw, " ")
	return Field{name, value, !space}
}
