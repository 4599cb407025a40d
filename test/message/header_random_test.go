package message

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/internal/ascii"
	"github.com/libmilter/go-libmilter/miltertest"
)

var (
	headerSeed  = flag.Uint64("header.seed", 1, "TestHeaderRandom's first seed")
	headerMails = flag.Uint64("header.mails", 400, "TestHeaderRandom's mails, for each MTA and what it grants")
)

// Random edits of random headers give on both MTAs what the filter has seen when it returned, with the fewest calls. A
// failure names its seed, with which -header.seed begins.
func TestHeaderRandom(t *testing.T) {
	t.Parallel()
	for _, granted := range []milter.Action{changesHeader, milter.SMFIF_ADDHDRS, milter.SMFIF_CHGHDRS} {
		for _, mta := range headerMTAs() {
			t.Run(fmt.Sprintf("%v/%v", granted, mta), func(t *testing.T) {
				t.Parallel()
				r := &randomHeaders{headerMTA: mta, granted: granted}
				f := miltertest.Start(t, granted, milter.Callbacks{Message: r.message}).With(mta.MTA)
				r.conn = f.Connect()
				defer r.conn.Quit()
				for i := range *headerMails {
					r.check(t, *headerSeed+i)
				}
			})
		}
	}
}

// randomHeaders is one filter, and the mail that it is at.
type randomHeaders struct {
	headerMTA
	granted milter.Action
	conn    *miltertest.Conn

	random *rand.Rand
	edits  []string // what was done
	err    error
	sent   []field // as the filter has seen it, before the edits and after
	now    []field
	model  model
	text   string
}

type field struct{ name, value string }

// model is the header as it should be, and which of its fields are new.
type model []struct {
	field
	fresh bool
}

func newModel(sent []field) (m model) {
	for _, f := range sent {
		m = m.insert(len(m), f, false)
	}
	return m
}

func (m model) insert(i int, f field, fresh bool) model {
	return slices.Insert(m, i, model{{f, fresh}}...)
}

// first gives the first field of a name from the i-th on, or -1.
func (m model) first(i int, name string) int {
	for ; i < len(m); i++ {
		if ascii.EqualFold(m[i].name, name) {
			return i
		}
	}
	return -1
}

func (m model) set(name, value string) model {
	i := m.first(0, name)
	if i < 0 {
		return m.insert(len(m), field{name, value}, true)
	}
	m[i].value = value
	return m.del(i+1, name)
}

// del deletes the fields of a name from the i-th on.
func (m model) del(i int, name string) model {
	for {
		if i = m.first(i, name); i < 0 {
			return m
		}
		m = slices.Delete(m, i, i+1)
	}
}

func (m model) fields() (list []field) {
	for _, f := range m {
		list = append(list, f.field)
	}
	return list
}

// Names that are there often, in either case, and those that MTAs have ways of their own with. Fields that they do not
// deliver are left out.
var (
	randomNames    = []string{"A", "A", "B", "X", "x", "Subject", "Received"}
	randomOwnNames = []string{"From", "from", "Date", "Message-Id", "Message-ID"}
	randomValues   = []string{"", "1", "1", "2", "3", "n\n\tmore", "\n\tat once", "gr\xfc\xdf \x80", "blank "}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func (r *randomHeaders) name() string {
	// Without SMFIF_CHGHDRS a missing own field goes to Sendmail's place for it.
	if r.granted&milter.SMFIF_CHGHDRS != 0 && r.random.IntN(4) == 0 {
		return pick(r.random, randomOwnNames)
	}
	return pick(r.random, randomNames)
}

// check sends one mail.
func (r *randomHeaders) check(t *testing.T, seed uint64) {
	r.random = rand.New(rand.NewPCG(seed, 0))
	var sent strings.Builder
	for range r.random.IntN(9) {
		names := randomNames
		if r.random.IntN(4) == 0 {
			names = randomOwnNames
		}
		fmt.Fprintf(&sent, "%s:%s%s\n", pick(r.random, names), pick(r.random, []string{" ", " ", "", "\t", "  "}), pick(r.random, randomValues))
	}
	result := r.conn.Send(miltertest.Mail{Data: sent.String() + "\nbody\n"})
	r.conn.TakeTranscript()
	about := fmt.Sprintf("-header.seed=%d\nsent:\n%s\nedits:\n%s\ncalls:\n%s", seed, sent.String(), strings.Join(r.edits, "\n"), strings.Join(r.calls(result), "\n"))
	require.NoError(t, r.err, about)
	require.Equal(t, milter.SMFIS_ACCEPT, result.Verdict, about)
	want, got := r.text, result.Header.String()
	if !r.spaced { // the filter cannot see whether there is a space
		want, got = unspaced.ReplaceAllString(want, "$1"), unspaced.ReplaceAllString(got, "$1")
	}
	require.Equal(t, want, got, about)
	require.Equal(t, r.model.fields(), r.now, about)
	require.LessOrEqual(t, len(result.Changes), r.fewest(false), about)
	require.GreaterOrEqual(t, len(result.Changes), r.fewest(!r.spaced), about)
}

// message makes random edits.
func (r *randomHeaders) message(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
	h := msg.Header
	r.err, r.edits, r.sent = nil, nil, fields(h)
	r.model = newModel(r.sent)
	for range r.random.IntN(8) {
		name, value, i := r.name(), pick(r.random, randomValues), r.random.IntN(h.Len()+1)
		given := value
		if r.spaced && !strings.HasPrefix(value, "\n") {
			given = " " + value
		}
		var edit string
		var err error
		switch kind := r.random.IntN(6); {
		case kind == 0:
			edit, err = fmt.Sprintf("Add(%q, %q)", name, value), h.Add(name, value)
			r.model = r.model.insert(len(r.model), field{name, given}, true)
		case kind == 1:
			edit, err = fmt.Sprintf("Insert(%d, %q, %q)", i, name, value), h.Insert(i, name, value)
			r.model = r.model.insert(i, field{name, given}, true)
		case kind == 2:
			edit, err = fmt.Sprintf("Set(%q, %q)", name, value), h.Set(name, value)
			r.model = r.model.set(name, given)
		case kind == 3 && r.random.IntN(3) == 0:
			edit, err = fmt.Sprintf("Del(%q)", name), h.Del(name)
			r.model = r.model.del(0, name)
		case kind == 4 && i < h.Len():
			edit, err = fmt.Sprintf("SetAt(%d, %q)", i, value), h.SetAt(i, value)
			r.model[i].value = given
		case kind == 5 && i < h.Len():
			edit, err = fmt.Sprintf("DelAt(%d)", i), h.DelAt(i)
			r.model = slices.Delete(r.model, i, i+1)
		}
		r.edits = append(r.edits, edit)
		if errors.Is(err, milter.ErrNotNegotiated) && r.granted != changesHeader {
			h.Reset()
			r.model = newModel(r.sent)
			r.edits = append(r.edits, "Reset()")
		} else if err != nil {
			r.err = err
		}
	}
	r.now, r.text = fields(h), text(h, r.spaced)
	return milter.SMFIS_CONTINUE
}

func fields(h *milter.Header) (list []field) {
	for name, value := range h.All() {
		list = append(list, field{name, value})
	}
	return list
}

// fewest gives the number of calls that it takes at least: each changes, deletes or adds one field, and the changed one keeps
// its name. Where fields can be given again, new ones come in front of all others or behind them. From, Date and Message-Id,
// of which Sendmail has its own, are to be deleted where the mail had none and now has.
//
// No change makes a value that is nothing at all, for that deletes. Without SMFIP_HDR_LEADSPC a filter can set one, which
// becomes a space: emptied says that all of them count as such.
func (r *randomHeaders) fewest(emptied bool) int {
	const never = 1 << 20
	add, change := never, never
	if r.granted&milter.SMFIF_ADDHDRS != 0 {
		add = 1
	}
	if r.granted&milter.SMFIF_CHGHDRS != 0 {
		change = 1
	}
	between := !r.spaced || r.granted != changesHeader
	known := map[[2]int]int{}
	var from func(i, j int) int
	from = func(i, j int) int {
		at := [2]int{i, j}
		if n, ok := known[at]; ok {
			return n
		}
		n := (len(r.sent)-i)*change + (len(r.now)-j)*add
		if i < len(r.sent) {
			n = min(n, from(i+1, j)+change)
		}
		if j < len(r.now) && between {
			n = min(n, from(i, j+1)+add)
		}
		if i < len(r.sent) && j < len(r.now) {
			switch {
			case r.sent[i] == r.now[j]:
				n = min(n, from(i+1, j+1))
			case r.sent[i].name == r.now[j].name && (emptied || r.now[j].value != ""):
				n = min(n, from(i+1, j+1)+change)
			}
		}
		known[at] = n
		return n
	}
	calls := from(0, 0)
	for front := 0; front < len(r.model) && r.model[front].fresh; front++ {
		calls = min(calls, (front+1)*add+from(0, front+1))
	}
	// Without SMFIF_CHGHDRS there are no such names.
	for _, name := range []string{"from", "date", "message-id"} {
		if !hasField(r.sent, name) && hasField(r.now, name) {
			calls++
		}
	}
	return calls
}

func hasField(list []field, name string) bool {
	return slices.ContainsFunc(list, func(f field) bool { return ascii.EqualFold(f.name, name) })
}
