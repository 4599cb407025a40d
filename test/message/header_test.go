package message

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// headerMTA is an MTA that takes or offers SMFIP_HDR_LEADSPC or not.
type headerMTA struct {
	miltertest.MTA
	spaced bool
}

func (mta headerMTA) String() string {
	if mta.spaced {
		return mta.Kind.String() + ", leading space"
	}
	return mta.Kind.String()
}

func headerMTAs() (mtas []headerMTA) {
	for _, mta := range []miltertest.MTA{miltertest.Postfix(), miltertest.Sendmail()} {
		mtas = append(mtas, headerMTA{mta, true})
		mta.Protocol &^= milter.SMFIP_HDR_LEADSPC
		mtas = append(mtas, headerMTA{mta, false})
	}
	return mtas
}

const changesHeader = milter.SMFIF_ADDHDRS | milter.SMFIF_CHGHDRS

// calls gives the changes of the mail as calls, without the space in front of values that SMFIP_HDR_LEADSPC makes the
// library's to give.
func (mta headerMTA) calls(r *miltertest.Result) []string {
	calls := []string{}
	for _, c := range r.Changes {
		isHeader := c.Op == miltertest.AddHeader || c.Op == miltertest.InsertHeader || c.Op == miltertest.ChangeHeader
		setEmpty := c.Op == miltertest.ChangeHeader && c.Value == " " // to delete it takes no value at all
		if mta.spaced && isHeader && !setEmpty {
			value, spaced := strings.CutPrefix(c.Value, " ")
			if !spaced && c.Value != "" && !strings.ContainsAny(c.Value[:1], "\t\n") {
				value = "no space: " + value
			} else if spaced && strings.HasPrefix(value, "\n") {
				value = "space: " + value
			}
			c.Value = value
		}
		calls = append(calls, c.String())
	}
	return calls
}

// sendEdited has a filter edit a mail.
func (mta headerMTA) sendEdited(t *testing.T, srv *milter.Server, data string, edit func(h *milter.Header, m *milter.Modifier) milter.Status) *miltertest.Result {
	srv.Callbacks.Message = func(_ *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
		return edit(msg.Header, m)
	}
	return miltertest.StartServer(t, srv).With(mta.MTA).Send(miltertest.Mail{Data: data})
}

// sendFields is sendEdited for fields that a text would not be taken for.
func (mta headerMTA) sendFields(t *testing.T, list []field, edit func(h *milter.Header)) *miltertest.Result {
	f := miltertest.Start(t, changesHeader, milter.Callbacks{Message: func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
		edit(msg.Header)
		return milter.SMFIS_CONTINUE
	}})
	c := f.With(mta.MTA).Connect()
	c.Connect("client.example.org", miltertest.UnknownAddr)
	c.Helo("client.example.org")
	c.MailFrom("<a@example.org>")
	c.RcptTo("<b@example.org>")
	c.Data()
	for _, f := range list {
		c.Header(f.name, f.value)
	}
	c.EOH()
	r := c.EOM()
	c.Quit()
	return r
}

func TestHeaderRead(t *testing.T) {
	t.Parallel()
	const sent = "Subject:  two spaces\nx: 1\nX:2\nX-Folded: a\n\tb\nX-At-Once:\n\tc\nX-Empty:\nx:\t\xff \n\nbody\n"
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			var own [][2]string
			want := [][2]string{{"Subject", " two spaces"}, {"x", "1"}, {"X", "2"}, {"X-Folded", "a\n\tb"}, {"X-At-Once", "\n\tc"}, {"X-Empty", ""}, {"x", "\t\xff "}}
			if mta.spaced {
				for _, i := range []int{0, 1, 3} {
					want[i][1] = " " + want[i][1]
				}
			}
			mta.sendEdited(t, &milter.Server{Actions: changesHeader}, sent, func(h *milter.Header, _ *milter.Modifier) milter.Status {
				for name, value := range h.All() {
					own = append(own, [2]string{name, value})
				}
				assert.Equal(t, want, own)
				for range h.All() {
					break // which must end the iteration
				}
				if assert.Equal(t, len(want), h.Len()) {
					for i := range want {
						name, value := h.At(i)
						assert.Equal(t, want[i], [2]string{name, value})
					}
				}
				assert.Panics(t, func() { h.At(h.Len()) })
				assert.Panics(t, func() { h.At(-1) })
				for name, values := range map[string][]string{
					"Subject": {"two spaces"}, "SUBJECT": {"two spaces"}, "x": {"1", "2", "\xff "}, "X": {"1", "2", "\xff "}, "x-folded": {"a\n\tb"},
					"X-At-Once": {"c"}, "X-Empty": {""}, "Subjec": nil, "": nil, "X-": nil,
				} {
					assert.Equal(t, values, h.Values(name), name)
					assert.Equal(t, values != nil, h.Has(name), name)
					assert.Equal(t, append(values, "")[0], h.Get(name), name)
				}
				return milter.SMFIS_CONTINUE
			})
			assert.NotEmpty(t, own)
		})
	}
}

// Each edit becomes these calls, on both MTAs. Where the MTA keeps the blanks of values to itself no field can be given again:
// postfix and sendmail are the calls there if they are others.
func TestHeaderCalls(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name              string
		sent              string
		edit              func(h *milter.Header) error
		calls             []string
		postfix, sendmail []string
	}{
		{"none", abc, all(), []string{}, nil, nil},
		{"Add", abc, add("N", "n"), []string{`InsertHeader(1048576, "N", "n")`}, nil, nil},
		{"Add, empty", abc, add("N", ""), []string{`InsertHeader(1048576, "N", "")`}, nil, nil},
		{"Add, folded with CRLF", abc, add("N", "n\r\n\tm\n o"), []string{`InsertHeader(1048576, "N", "n\n\tm\n o")`}, nil, nil},
		{"Add, folded at once", abc, add("N", "\n\tn"), []string{`InsertHeader(1048576, "N", "\n\tn")`}, nil, nil},
		{"Add, 8-bit", abc, add("N", "\xff"), []string{`InsertHeader(1048576, "N", "\xff")`}, nil, nil},
		// Sendmail's smfi_addheader is not the end where the name is there, or was.
		{"Add where there is one", abc, add("b", "n"), []string{`InsertHeader(1048576, "b", "n")`}, nil, nil},
		{"Add twice", abc, all(add("N", "n"), add("n", "m")), []string{`InsertHeader(1048576, "N", "n")`, `InsertHeader(1048576, "n", "m")`}, nil, nil},
		{"Add where there was one", abc, all(del("A"), add("A", "n")), []string{`ChangeHeader("A", 1, "")`, `InsertHeader(1048576, "A", "n")`}, nil, nil},
		{"Add an own one", named, add("From", "n@example.org"), []string{`InsertHeader(1048576, "From", "n@example.org")`}, nil, nil},
		// Sendmail has one already: its own, which goes. Postfix has none, and deletes nothing.
		{"Add a missing own one", abc, add("From", "n@example.org"), []string{`ChangeHeader("From", 1, "")`, `InsertHeader(1048576, "From", "n@example.org")`}, nil, nil},
		{"Add two missing own ones of a name", abc, all(add("date", "1"), add("Date", "2")),
			[]string{`ChangeHeader("date", 1, "")`, `InsertHeader(1048576, "date", "1")`, `InsertHeader(1048576, "Date", "2")`}, nil, nil},
		{"Insert missing own ones", abc, all(insert(0, "From", "n@example.org"), insert(2, "Message-Id", "<1@example.org>")),
			[]string{`ChangeHeader("C", 1, "")`, `ChangeHeader("B", 1, "")`, `ChangeHeader("From", 1, "")`, `ChangeHeader("Message-Id", 1, "")`,
				`InsertHeader(1048576, "Message-Id", "<1@example.org>")`, `InsertHeader(1048576, "B", "2")`, `InsertHeader(1048576, "C", "3")`, `InsertHeader(0, "From", "n@example.org")`},
			[]string{`ChangeHeader("From", 1, "")`, `ChangeHeader("Message-Id", 1, "")`, `InsertHeader(2, "Message-Id", "<1@example.org>")`, `InsertHeader(0, "From", "n@example.org")`},
			[]string{`ChangeHeader("From", 1, "")`, `ChangeHeader("Message-Id", 1, "")`, `InsertHeader(9, "Message-Id", "<1@example.org>")`, `InsertHeader(0, "From", "n@example.org")`}},
		{"Add Received", abc, add("Received", "n"), []string{`InsertHeader(1048576, "Received", "n")`}, nil, nil},

		// At 0, whatever the MTA holds.
		{"Insert in front", abc, insert(0, "N", "n"), []string{`InsertHeader(0, "N", "n")`}, nil, nil},
		{"Insert two in front", abc, all(insert(0, "N", "n"), insert(0, "M", "m")), []string{`InsertHeader(0, "N", "n")`, `InsertHeader(0, "M", "m")`}, nil, nil},
		{"Insert in the middle", abc, insert(1, "N", "n"),
			[]string{`ChangeHeader("C", 1, "")`, `ChangeHeader("B", 1, "")`, `InsertHeader(1048576, "N", "n")`, `InsertHeader(1048576, "B", "2")`, `InsertHeader(1048576, "C", "3")`},
			[]string{`InsertHeader(2, "N", "n")`}, []string{`InsertHeader(9, "N", "n")`}},
		{"Insert two in the middle", abc, all(insert(2, "N", "n"), insert(3, "M", "m")),
			[]string{`ChangeHeader("C", 1, "")`, `InsertHeader(1048576, "N", "n")`, `InsertHeader(1048576, "M", "m")`, `InsertHeader(1048576, "C", "3")`},
			[]string{`InsertHeader(3, "N", "n")`, `InsertHeader(4, "M", "m")`}, []string{`InsertHeader(10, "N", "n")`, `InsertHeader(11, "M", "m")`}},
		{"Insert in the middle of a name", xyxx, insert(3, "X", "n"), []string{`ChangeHeader("X", 3, "n")`, `InsertHeader(1048576, "X", "3")`},
			[]string{`InsertHeader(4, "X", "n")`}, []string{`InsertHeader(11, "X", "n")`}},
		{"Insert everywhere", abc, all(insert(3, "N", "4"), insert(2, "N", "3"), insert(1, "N", "2"), insert(0, "N", "1")),
			[]string{`ChangeHeader("C", 1, "")`, `ChangeHeader("B", 1, "")`, `InsertHeader(1048576, "N", "2")`, `InsertHeader(1048576, "B", "2")`,
				`InsertHeader(1048576, "N", "3")`, `InsertHeader(1048576, "C", "3")`, `InsertHeader(1048576, "N", "4")`, `InsertHeader(0, "N", "1")`},
			[]string{`InsertHeader(2, "N", "2")`, `InsertHeader(4, "N", "3")`, `InsertHeader(1048576, "N", "4")`, `InsertHeader(0, "N", "1")`},
			[]string{`InsertHeader(9, "N", "2")`, `InsertHeader(11, "N", "3")`, `InsertHeader(1048576, "N", "4")`, `InsertHeader(0, "N", "1")`}},
		{"Insert behind a deleted one", abc, all(delAt(0), insert(1, "N", "n")),
			[]string{`ChangeHeader("C", 1, "")`, `ChangeHeader("A", 1, "")`, `InsertHeader(1048576, "N", "n")`, `InsertHeader(1048576, "C", "3")`},
			[]string{`ChangeHeader("A", 1, "")`, `InsertHeader(2, "N", "n")`}, []string{`ChangeHeader("A", 1, "")`, `InsertHeader(10, "N", "n")`}},
		{"Insert at the end", abc, insert(3, "N", "n"), []string{`InsertHeader(1048576, "N", "n")`}, nil, nil},
		{"Insert into nothing", "", insert(0, "N", "n"), []string{`InsertHeader(1048576, "N", "n")`}, nil, nil},

		{"Set", abc, set("b", "n"), []string{`ChangeHeader("B", 1, "n")`}, nil, nil},
		{"Set, empty", abc, set("B", ""), []string{`ChangeHeader("B", 1, " ")`}, nil, nil},
		{"Set, folded", abc, set("B", "n\r\n\tm"), []string{`ChangeHeader("B", 1, "n\n\tm")`}, nil, nil},
		{"Set what it is", abc, set("B", "2"), []string{}, nil, nil},
		{"Set, missing", abc, set("N", "n"), []string{`InsertHeader(1048576, "N", "n")`}, nil, nil},
		{"Set, missing, twice", abc, all(set("N", "n"), set("N", "m")), []string{`InsertHeader(1048576, "N", "m")`}, nil, nil},
		// Postfix counts anew after a deletion, Sendmail does not: from the last to the first.
		{"Set, three", xyxx, set("X", "n"), []string{`ChangeHeader("X", 3, "")`, `ChangeHeader("X", 2, "")`, `ChangeHeader("X", 1, "n")`}, nil, nil},
		{"Set to what a neighbour is", "X: 1\nX: 2\n", set("X", "2"), []string{`ChangeHeader("X", 1, "")`}, nil, nil},
		{"Set a new one", abc, all(insert(0, "N", "n"), set("N", "m")), []string{`InsertHeader(0, "N", "m")`}, nil, nil},
		{"SetAt", xyxx, setAt(2, "n"), []string{`ChangeHeader("X", 2, "n")`}, nil, nil},
		{"SetAt, in either case", "x: 1\nX: 2\nx: 3\n", setAt(1, "n"), []string{`ChangeHeader("X", 2, "n")`}, nil, nil},
		{"SetAt, empty", xyxx, setAt(3, ""), []string{`ChangeHeader("X", 3, " ")`}, nil, nil},
		{"SetAt, forth and back", abc, all(setAt(1, "n"), setAt(1, "2")), []string{}, nil, nil},

		{"Del", abc, del("b"), []string{`ChangeHeader("B", 1, "")`}, nil, nil},
		{"Del, three", xyxx, del("X"), []string{`ChangeHeader("X", 3, "")`, `ChangeHeader("X", 2, "")`, `ChangeHeader("X", 1, "")`}, nil, nil},
		{"Del, missing", abc, del("N"), []string{}, nil, nil},
		{"Del a new one", abc, all(add("N", "n"), del("N")), []string{}, nil, nil},
		{"DelAt", xyxx, delAt(2), []string{`ChangeHeader("X", 2, "")`}, nil, nil},
		{"DelAt a new one", abc, all(insert(1, "N", "n"), delAt(1)), []string{}, nil, nil},
		{"DelAt, one of the same", "X: 1\nX: 1\n", delAt(0), []string{`ChangeHeader("X", 2, "")`}, nil, nil},
		{"Del and SetAt", xyxx, all(delAt(2), setAt(2, "n")), []string{`ChangeHeader("X", 3, "")`, `ChangeHeader("X", 2, "n")`}, nil, nil},

		{"deleted and added: changed", abc, all(del("B"), insert(1, "B", "n")), []string{`ChangeHeader("B", 1, "n")`}, nil, nil},
		{"deleted and added: as it was", abc, all(del("B"), insert(1, "B", "2")), []string{}, nil, nil},
		{"deleted and added in other case", abc, all(del("B"), insert(1, "b", "2")),
			[]string{`ChangeHeader("C", 1, "")`, `ChangeHeader("B", 1, "")`, `InsertHeader(1048576, "b", "2")`, `InsertHeader(1048576, "C", "3")`},
			[]string{`ChangeHeader("B", 1, "")`, `InsertHeader(2, "b", "2")`}, []string{`ChangeHeader("B", 1, "")`, `InsertHeader(9, "b", "2")`}},
		{"changed: deleted and added", "X: 1\nX: 2\nX: 3\nX: 4\n", all(setAt(0, "2"), setAt(1, "3"), setAt(2, "4"), setAt(3, "5")),
			[]string{`ChangeHeader("X", 1, "")`, `InsertHeader(1048576, "X", "5")`}, nil, nil},
		// No change makes a value that is nothing at all: to give one deletes.
		{"nothing at all stays so", "X: 1\nA: 1\nX:\n", all(delAt(0), delAt(0), add("A", "2")),
			[]string{`ChangeHeader("A", 1, "")`, `ChangeHeader("X", 1, "")`, `InsertHeader(1048576, "A", "2")`}, nil, nil},
		{"Reset", abc, all(del("A"), add("N", "n"), setAt(0, "n"), reset), []string{}, nil, nil},
		{"Reset, then edited", abc, all(del("A"), reset, setAt(0, "n")), []string{`ChangeHeader("A", 1, "n")`}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, mta := range headerMTAs() {
				var seen string
				r := mta.sendEdited(t, &milter.Server{Actions: changesHeader}, test.sent+"\nbody\n", func(h *milter.Header, _ *milter.Modifier) milter.Status {
					assert.NoError(t, test.edit(h))
					seen = text(h, mta.spaced)
					return milter.SMFIS_CONTINUE
				})
				want := test.calls
				switch {
				case mta.spaced || test.postfix == nil:
				case mta.Kind == miltertest.KindPostfix:
					want = test.postfix
				default:
					want = test.sendmail
				}
				assert.Equal(t, want, mta.calls(r), mta)
				got := r.Header.String()
				if !mta.spaced { // the filter cannot see whether there is a space
					seen, got = unspaced.ReplaceAllString(seen, "$1"), unspaced.ReplaceAllString(got, "$1")
				}
				assert.Equal(t, seen, got, mta)
			}
		})
	}
}

// What is decided against a mail, or for it.
func TestHeaderVerdicts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, verdict milter.Status
		calls           []string
	}{
		{milter.SMFIS_CONTINUE, milter.SMFIS_ACCEPT, []string{`InsertHeader(1048576, "N", "n")`}},
		{milter.SMFIS_ACCEPT, milter.SMFIS_ACCEPT, []string{`InsertHeader(1048576, "N", "n")`}},
		{milter.SMFIS_REJECT, milter.SMFIS_REJECT, []string{}},
		{milter.SMFIS_TEMPFAIL, milter.SMFIS_TEMPFAIL, []string{}},
		{milter.SMFIS_DISCARD, milter.SMFIS_DISCARD, []string{}},
		{milter.SMFIS_ALL_OPTS, milter.SMFIS_TEMPFAIL, []string{}},
	} {
		t.Run(test.status.String(), func(t *testing.T) {
			t.Parallel()
			for _, mta := range headerMTAs() {
				r := mta.sendEdited(t, &milter.Server{Actions: changesHeader}, abc, func(h *milter.Header, _ *milter.Modifier) milter.Status {
					assert.NoError(t, h.Add("N", "n"))
					return test.status
				})
				assert.Equal(t, test.verdict, r.Verdict, mta)
				assert.Equal(t, test.calls, mta.calls(r), mta)
			}
		})
	}
}

// Modifier's calls are sent at once, the edits when Message has returned, whatever came first.
func TestHeaderAfterModifier(t *testing.T) {
	t.Parallel()
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			srv := &milter.Server{Actions: changesHeader | milter.SMFIF_CHGBODY | milter.SMFIF_ADDRCPT | milter.SMFIF_QUARANTINE}
			r := mta.sendEdited(t, srv, abc, func(h *milter.Header, m *milter.Modifier) milter.Status {
				assert.NoError(t, h.Set("A", "n"))
				assert.NoError(t, m.AddHeader("M", "m"))
				assert.NoError(t, m.ReplaceBody([]byte("new\r\n")))
				assert.NoError(t, h.Add("N", "n"))
				assert.NoError(t, m.AddRcpt("<n@example.org>"))
				assert.NoError(t, m.Quarantine("odd"))
				return milter.SMFIS_CONTINUE
			})
			assert.Equal(t, []string{`AddHeader("M", "m")`, `ReplaceBody(5 bytes)`, `AddRcpt("<n@example.org>")`, `Quarantine("odd")`,
				`ChangeHeader("A", 1, "n")`, `InsertHeader(1048576, "N", "n")`}, mta.calls(r))
			assert.Equal(t, "A: n\nB: 2\nC: 3\nM: m\nN: n\n", r.Header.String())
		})
	}
}

// What cannot be in a header is refused at once, and leaves the header as it was.
func TestHeaderArguments(t *testing.T) {
	t.Parallel()
	names := map[string]string{
		"empty name": "", "name with LF": "N\n", "name with CR": "N\r", "name with NUL": "N\x00", "name with blank in front": " N",
		"name with blank behind": "N ", "name with blank within": "N M", "name with tab in front": "\tN", "name of a blank": " ",
		"name with colon": "N:", "name with a field": "N: n\nM", "name with DEL": "N\x7f", "name with ESC": "\x1b[0mN",
		"name with 8 bits": "N\xfc", "name in UTF-8": "N\u00fc",
	}
	values := map[string]string{
		"NUL": "n\x00", "CR": "n\rm", "LF": "n\nm", "LF at the end": "n\n", "empty line": "n\n\n m", "CRLF": "n\r\nB: m", "CR in fold": "n\r \r\n m",
		"too long": strings.Repeat("n", 65535),
	}
	edits := map[string]func(h *milter.Header) error{
		"Insert, index -1": insert(-1, "N", "n"), "Insert, index beyond": insert(4, "N", "n"), "SetAt, index -1": setAt(-1, "n"), "SetAt, index beyond": setAt(3, "n"),
		"DelAt, index -1": delAt(-1), "DelAt, index beyond": delAt(3),
	}
	for what, name := range names {
		edits["Add, "+what] = add(name, "n")
		edits["Insert, "+what] = insert(0, name, "n")
		edits["Set, "+what] = set(name, "n")
	}
	for name, value := range values {
		edits["Add, "+name] = add("N", value)
		edits["Insert, "+name] = insert(1, "N", value)
		edits["Set, "+name] = set("A", value)
		edits["Set, missing, "+name] = set("N", value)
		edits["SetAt, "+name] = setAt(2, value)
	}
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			r := mta.sendEdited(t, &milter.Server{Actions: changesHeader}, abc, func(h *milter.Header, _ *milter.Modifier) milter.Status {
				for _, edited := range []bool{false, true} {
					if edited {
						assert.NoError(t, h.SetAt(1, "n"))
					}
					before := text(h, mta.spaced)
					for name, edit := range edits {
						err := edit(h)
						assert.ErrorIs(t, err, milter.ErrArgument, name)
						var of *milter.Error
						if assert.ErrorAs(t, err, &of, name) {
							assert.Contains(t, []string{"smfi_addheader", "smfi_insheader", "smfi_chgheader"}, of.Op)
						}
						assert.Equal(t, before, text(h, mta.spaced), name)
					}
				}
				return milter.SMFIS_CONTINUE
			})
			assert.Equal(t, []string{`ChangeHeader("B", 1, "n")`}, mta.calls(r))
		})
	}
}

// The longest field that a packet takes.
func TestHeaderLongest(t *testing.T) {
	t.Parallel()
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			longest := 65535 - len("N") - 6
			if mta.spaced {
				longest--
			}
			value := strings.Repeat("n", longest)
			r := mta.sendEdited(t, &milter.Server{Actions: changesHeader}, abc, func(h *milter.Header, _ *milter.Modifier) milter.Status {
				assert.ErrorIs(t, h.Add("N", value+"n"), milter.ErrArgument)
				assert.NoError(t, h.Add("N", value))
				assert.NoError(t, h.Insert(1, "N", value))
				assert.NoError(t, h.Set("A", value))
				return milter.SMFIS_CONTINUE
			})
			assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict)
			assert.Equal(t, "A: "+value+"\nN: "+value+"\nB: 2\nC: 3\nN: "+value+"\n", r.Header.String())
		})
	}
}

// An edit that was not granted is an error, and none of the mail's edits is made, unless it is taken back.
func TestHeaderNotGranted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		granted milter.Action
		allowed func(h *milter.Header) error // before
		edit    func(h *milter.Header) error
		lacking milter.Action
	}{
		{"Add", milter.SMFIF_CHGHDRS, set("A", "n"), add("N", "n"), milter.SMFIF_ADDHDRS},
		{"Insert", milter.SMFIF_CHGHDRS, del("A"), insert(1, "N", "n"), milter.SMFIF_ADDHDRS},
		{"Set, missing", milter.SMFIF_CHGHDRS, del("A"), set("N", "n"), milter.SMFIF_ADDHDRS},
		{"Set", milter.SMFIF_ADDHDRS, add("N", "n"), set("A", "n"), milter.SMFIF_CHGHDRS},
		{"Set, a new one and an old one", milter.SMFIF_ADDHDRS, insert(0, "A", "n"), set("A", "m"), milter.SMFIF_CHGHDRS},
		{"SetAt", milter.SMFIF_ADDHDRS, add("N", "n"), setAt(0, "n"), milter.SMFIF_CHGHDRS},
		{"Del", milter.SMFIF_ADDHDRS, insert(1, "N", "n"), del("B"), milter.SMFIF_CHGHDRS},
		{"DelAt", milter.SMFIF_ADDHDRS, add("N", "n"), delAt(1), milter.SMFIF_CHGHDRS},
		{"Add, nothing granted", milter.SMFIF_CHGBODY, all(), add("N", "n"), milter.SMFIF_ADDHDRS},
		{"Del, nothing granted", milter.SMFIF_CHGBODY, all(), del("A"), milter.SMFIF_CHGHDRS},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, mta := range headerMTAs() {
				for _, takenBack := range []bool{false, true} {
					var log lines
					r := mta.sendEdited(t, &milter.Server{Actions: test.granted, Logger: log.logger()}, abc, func(h *milter.Header, _ *milter.Modifier) milter.Status {
						assert.NoError(t, test.allowed(h))
						before := text(h, mta.spaced)
						err := test.edit(h)
						assert.ErrorIs(t, err, milter.ErrNotNegotiated)
						assert.ErrorContains(t, err, test.lacking.String()+" (asked for and granted: "+test.granted.String()+")")
						assert.NotEqual(t, before, text(h, mta.spaced), "it is recorded")
						if takenBack {
							h.Reset()
							assert.NoError(t, test.allowed(h))
						}
						return milter.SMFIS_CONTINUE
					})
					if takenBack {
						assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict, mta)
						assert.Empty(t, log.String())
						continue
					}
					assert.Equal(t, milter.SMFIS_TEMPFAIL, r.Verdict, mta)
					assert.Empty(t, r.Changes, mta)
					assert.Equal(t, 1, strings.Count(log.String(), "\n"))
					assert.Contains(t, log.String(), "milter: header not edited, answered SMFIS_TEMPFAIL")
					assert.Contains(t, log.String(), test.lacking.String()+" (asked for and granted: "+test.granted.String()+")")
				}
			}
		})
	}
}

// What is granted alone suffices for what needs no more: edits that have come to nothing need nothing, and no detour is taken
// by way of an action that is lacking.
func TestHeaderGrantedAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		granted milter.Action
		sent    string
		edit    func(h *milter.Header) error
		calls   []string
	}{
		{"new ones", milter.SMFIF_ADDHDRS, abc, all(add("N", "n"), add("M", "m"), set("N", "k"), setAt(4, "l"), del("M")), []string{`InsertHeader(1048576, "N", "k")`}},
		{"new one deleted", milter.SMFIF_ADDHDRS, abc, all(insert(1, "N", "n"), delAt(1)), []string{}},
		{"changes only", milter.SMFIF_CHGHDRS, "X: 1\nX: 2\nX: 3\nX: 4\n", all(setAt(0, "2"), setAt(1, "3"), setAt(2, "4"), setAt(3, "5")),
			[]string{`ChangeHeader("X", 4, "5")`, `ChangeHeader("X", 3, "4")`, `ChangeHeader("X", 2, "3")`, `ChangeHeader("X", 1, "2")`}},
		{"one before its like", milter.SMFIF_ADDHDRS, "X: 1\nX: 2\n", insert(0, "X", "n"), []string{`InsertHeader(0, "X", "n")`}},
		{"nothing", milter.SMFIF_CHGBODY, abc, all(del("N"), reset), []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, mta := range headerMTAs() {
				r := mta.sendEdited(t, &milter.Server{Actions: test.granted}, test.sent, func(h *milter.Header, _ *milter.Modifier) milter.Status {
					assert.NoError(t, test.edit(h))
					return milter.SMFIS_CONTINUE
				})
				assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict, mta)
				assert.Equal(t, test.calls, mta.calls(r), mta)
			}
		})
	}
}

// Where Sendmail's own field cannot be deleted, the new one takes its place: no mail has two.
func TestHeaderOwnNotDeleted(t *testing.T) {
	t.Parallel()
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			r := mta.sendEdited(t, &milter.Server{Actions: milter.SMFIF_ADDHDRS}, abc, func(h *milter.Header, _ *milter.Modifier) milter.Status {
				assert.NoError(t, all(insert(0, "N", "1"), insert(1, "From", "n@example.org"), insert(2, "N", "2"), insert(4, "N", "3"), insert(5, "message-id", "<n@example.org>"), insert(6, "N", "4"),
					add("Message-Id", "<m@example.org>"))(h))
				return milter.SMFIS_CONTINUE
			})
			if mta.Kind == miltertest.KindPostfix {
				assert.Equal(t, "N: 1\nFrom: n@example.org\nN: 2\nA: 1\nN: 3\nmessage-id: <n@example.org>\nN: 4\nB: 2\nC: 3\nMessage-Id: <m@example.org>\n", r.Header.String())
				return
			}
			calls := mta.calls(r)
			assert.Contains(t, calls, `AddHeader("From", "n@example.org")`)
			assert.Contains(t, calls, `AddHeader("message-id", "<n@example.org>")`)
			others := slices.DeleteFunc(slices.Clone(r.Header), func(f miltertest.Field) bool { return f.Value == "n@example.org" || f.Value == "<n@example.org>" })
			assert.Len(t, r.Header, len(others)+2)
			assert.Equal(t, "N: 1\nN: 2\nA: 1\nN: 3\nN: 4\nB: 2\nC: 3\nMessage-Id: <m@example.org>\n", others.String())
		})
	}
}

// After Message has returned the header can be read, as it was then, and not be edited.
func TestHeaderTooLate(t *testing.T) {
	t.Parallel()
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			var kept *milter.Header
			r := mta.sendEdited(t, &milter.Server{Actions: changesHeader}, abc, func(h *milter.Header, _ *milter.Modifier) milter.Status {
				kept = h
				assert.NoError(t, h.Set("B", "n"))
				return milter.SMFIS_CONTINUE
			})
			for name, edit := range map[string]func(h *milter.Header) error{
				"Add": add("N", "n"), "Insert": insert(0, "N", "n"), "Set": set("A", "n"), "Set, missing": set("N", "n"), "SetAt": setAt(0, "n"), "Del": del("A"),
				"Del, missing": del("N"), "DelAt": delAt(0),
			} {
				assert.ErrorIs(t, edit(kept), milter.ErrStage, name)
			}
			assert.Equal(t, r.Header.String(), text(kept, mta.spaced))
			assert.Equal(t, []string{`ChangeHeader("B", 1, "n")`}, mta.calls(r))
		})
	}
}

// All that RFC 5322 allows in a name is taken, and an edit may be of a field whose name the MTA has let pass.
func TestHeaderNames(t *testing.T) {
	t.Parallel()
	const odd = "!#$%&'*+-./09;<=>?@AZ[\\]^_`az{|}~\""
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			r := mta.sendFields(t, []field{{"B\xfc", "1"}, {"B\xfc", "2"}, {"C\xfc", "3"}}, func(h *milter.Header) {
				assert.NoError(t, all(add(odd, "n"), set("B\xfc", "m"), setAt(1, "k"))(h))
				assert.ErrorIs(t, h.Set("D\xfc", "n"), milter.ErrArgument)
			})
			assert.Equal(t, "B\xfc: m\nC\xfc: k\n"+odd+": n\n", r.Header.String())
		})
	}
}

// Names are the same in upper and lower case of ASCII alone: an MTA takes the Kelvin sign for no k, and the long s for no s.
func TestHeaderASCII(t *testing.T) {
	t.Parallel()
	const kelvin, longS = "X-\u212aey", "\u017fubject"
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			r := mta.sendFields(t, []field{{kelvin, "1"}, {"x-KEY", "2"}, {longS, "3"}, {"SUBJECT", "4"}}, func(h *milter.Header) {
				assert.Equal(t, []string{"2"}, h.Values("x-key"))
				assert.Equal(t, []string{"1"}, h.Values(kelvin))
				assert.Equal(t, "4", h.Get("Subject"))
				assert.NoError(t, all(set("X-Key", "n"), del("subject"))(h))
			})
			assert.Equal(t, []string{`ChangeHeader("SUBJECT", 1, "")`, `ChangeHeader("x-KEY", 1, "n")`}, mta.calls(r))
			assert.Equal(t, kelvin+": 1\nx-KEY: n\n"+longS+": 3\n", r.Header.String())
		})
	}
}

// All gives the fields that there were when it began, whatever is done to them meanwhile.
func TestHeaderEditedWhileRead(t *testing.T) {
	t.Parallel()
	sent, _, _ := numbered(200)
	for _, mta := range headerMTAs() {
		for name, sent := range map[string]string{"short": abc + xyxx, "long": sent + xyxx} {
			t.Run(mta.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				mta.sendEdited(t, &milter.Server{Actions: changesHeader}, sent, func(h *milter.Header, _ *milter.Modifier) milter.Status {
					unedited := fields(h)
					for range 2 { // not edited yet, then edited
						before := fields(h)
						var seen []field
						for name, value := range h.All() {
							seen = append(seen, field{name, value})
							assert.NoError(t, all(insert(0, "X", "n"), setAt(1, "m"), add("N", "n"), delAt(h.Len()/2), set("Y", "n"))(h))
						}
						assert.Equal(t, before, seen)
						for range h.All() {
							h.Reset()
						}
						assert.Equal(t, unedited, fields(h))
						assert.NoError(t, all(del("X"), add("X", "m"))(h))
					}
					return milter.SMFIS_CONTINUE
				})
			})
		}
	}
}

// In a header that is too large to look for the fewest calls, the edits are made as they came.
func TestHeaderLarge(t *testing.T) {
	t.Parallel()
	const fields = 3_000
	sent, edit, _ := numbered(fields)
	for _, mta := range headerMTAs() {
		t.Run(mta.String(), func(t *testing.T) {
			t.Parallel()
			var seen string
			r := mta.sendEdited(t, &milter.Server{Actions: changesHeader}, sent, func(h *milter.Header, _ *milter.Modifier) milter.Status {
				assert.NoError(t, edit(h))
				assert.NoError(t, all(insert(0, "N", "front"), add("F", "end"))(h))
				seen = text(h, mta.spaced)
				return milter.SMFIS_CONTINUE
			})
			require.Equal(t, milter.SMFIS_ACCEPT, r.Verdict)
			assert.Len(t, r.Changes, fields/4*3+2)
			assert.True(t, seen == r.Header.String())
		})
	}
}

// Mails of one connection have headers of their own.
func TestHeaderMailAfterMail(t *testing.T) {
	t.Parallel()
	n := 0
	f := miltertest.Start(t, changesHeader, milter.Callbacks{Message: func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
		n++
		assert.NoError(t, msg.Header.Set("N", strconv.Itoa(n)))
		if n == 2 {
			return milter.SMFIS_REJECT
		}
		return milter.SMFIS_CONTINUE
	}})
	c := f.Connect()
	for i := range 4 {
		r := c.Send(miltertest.Mail{Data: fmt.Sprintf("A: %d\n\n", i+1)})
		if i == 1 {
			assert.Empty(t, r.Changes)
			continue
		}
		assert.Equal(t, fmt.Sprintf("A: %d\nN: %d\n", i+1, i+1), r.Header.String())
	}
	c.Quit()
}
