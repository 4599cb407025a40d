package message

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// Each case is a mail that goes through a real Postfix and a real Sendmail, of which both must deliver the header that the
// filter has made: twice, as SMFIP_HDR_LEADSPC is negotiated or not.

// headerCase is a header as it is sent, what the filter does to it, and what is delivered, but for what the MTA adds itself.
type headerCase struct {
	name string
	sent string
	edit func(h *milter.Header) error
	want string
}

// The headers of most cases. Times have no weekday, by which they differ from Sendmail's own.
const (
	abc   = "A: 1\nB: 2\nC: 3\n"
	xyxx  = "X: 1\nY: y\nX: 2\nX: 3\n"
	named = "From: a@example.org\nDate: 1 Jan 2001 12:00 +0000\nMessage-Id: <1@example.org>\nSubject: s\n"
	hops  = "Received: 1\nReceived: 2\nA: 1\n"
)

// all makes edits until one fails.
func all(edits ...func(h *milter.Header) error) func(h *milter.Header) error {
	return func(h *milter.Header) error {
		for _, edit := range edits {
			if err := edit(h); err != nil {
				return err
			}
		}
		return nil
	}
}

func add(name, value string) func(h *milter.Header) error {
	return func(h *milter.Header) error { return h.Add(name, value) }
}

func insert(i int, name, value string) func(h *milter.Header) error {
	return func(h *milter.Header) error { return h.Insert(i, name, value) }
}

func set(name, value string) func(h *milter.Header) error {
	return func(h *milter.Header) error { return h.Set(name, value) }
}

func setAt(i int, value string) func(h *milter.Header) error {
	return func(h *milter.Header) error { return h.SetAt(i, value) }
}

func del(name string) func(h *milter.Header) error {
	return func(h *milter.Header) error { return h.Del(name) }
}

func delAt(i int) func(h *milter.Header) error {
	return func(h *milter.Header) error { return h.DelAt(i) }
}

func reset(h *milter.Header) error {
	h.Reset()
	return nil
}

// long is a folded value over the length that a line of SMTP may have.
var long = strings.Repeat("n", 900) + "\n\t" + strings.Repeat("o", 900) + "\n " + strings.Repeat("p", 900)

// odd are fields that must stay what they are if they are given again.
var odd = "B:2\nC:\t3\nD:\nE: \nF:  6 \nG: 7\n\tmore\n  again\nH:\n\tat once\nI: \xff\x80\nJ: " + long + "\nb: 10\nReceived: 11\nTo: <a@example.org>\nX!#$%&'*+-^_`{|}~: 12\n"

// numbered gives n fields, and what many edits make of them.
func numbered(n int) (sent string, edit func(h *milter.Header) error, want string) {
	var edits []func(h *milter.Header) error
	for i := range n {
		sent += fmt.Sprintf("F: %d\n", i)
		switch i % 4 {
		case 0:
			want += fmt.Sprintf("F: %d\nN: %d\n", i, i)
		case 1:
			want += fmt.Sprintf("F: changed %d\n", i)
		case 2:
			want += fmt.Sprintf("F: %d\n", i)
		}
	}
	for i := n - 1; i >= 0; i-- {
		switch i % 4 {
		case 0:
			edits = append(edits, insert(i+1, "N", strconv.Itoa(i)))
		case 1:
			edits = append(edits, setAt(i, fmt.Sprintf("changed %d", i)))
		case 3:
			edits = append(edits, delAt(i))
		}
	}
	return sent, all(edits...), want
}

func many(name string, n int) headerCase {
	sent, edit, want := numbered(n)
	return headerCase{name, sent, edit, want}
}

var headerCases = []headerCase{
	{"unchanged", named + abc, all(), named + abc},
	{"as it was written", "A:1\nB:\t2\nC:  3\nD:\nE: \nF: 6\n\tmore\n  again\nG: \xff\x80\n", add("N", "n"), "A:1\nB:\t2\nC:  3\nD:\nE: \nF: 6\n\tmore\n  again\nG: \xff\x80\nN: n\n"},
	{"reset", named + abc, all(del("From"), set("A", "n"), add("N", "n"), reset), named + abc},
	{"reset, then edited", abc, all(del("A"), reset, setAt(1, "n")), "A: 1\nB: n\nC: 3\n"},

	// Change.
	{"first set", abc, set("A", "n"), "A: n\nB: 2\nC: 3\n"},
	{"middle set", abc, set("B", "n"), "A: 1\nB: n\nC: 3\n"},
	{"last set", abc, set("C", "n"), "A: 1\nB: 2\nC: n\n"},
	{"set in other case", abc, set("b", "n"), "A: 1\nB: n\nC: 3\n"},
	{"missing one set", abc, set("N", "n"), abc + "N: n\n"},
	{"missing one set twice", abc, all(set("N", "n"), set("N", "m")), abc + "N: m\n"},
	{"first of three set, others deleted", xyxx, set("X", "n"), "X: n\nY: y\n"},
	{"first of three set at", xyxx, setAt(0, "n"), "X: n\nY: y\nX: 2\nX: 3\n"},
	{"second of three set at", xyxx, setAt(2, "n"), "X: 1\nY: y\nX: n\nX: 3\n"},
	{"third of three set at", xyxx, setAt(3, "n"), "X: 1\nY: y\nX: 2\nX: n\n"},
	{"all of three set at", xyxx, all(setAt(0, "a"), setAt(2, "b"), setAt(3, "c")), "X: a\nY: y\nX: b\nX: c\n"},
	{"set empty", abc, set("B", ""), "A: 1\nB: \nC: 3\n"},
	{"all set empty", abc, all(setAt(0, ""), setAt(1, ""), setAt(2, "")), "A: \nB: \nC: \n"},
	{"empty one set", "A:\nB: \n", all(set("A", "n"), set("B", "m")), "A: n\nB: m\n"},
	{"set to a folded value", abc, set("B", "n\n\tmore\r\n again"), "A: 1\nB: n\n\tmore\n again\nC: 3\n"},
	{"folded one set", "A: 1\n\tmore\nB: 2\n", set("A", "n"), "A: n\nB: 2\n"},
	{"set to 8-bit text", abc, set("B", "gr\xfc\xdf \x80"), "A: 1\nB: gr\xfc\xdf \x80\nC: 3\n"},
	{"set to a long value", abc, set("B", long), "A: 1\nB: " + long + "\nC: 3\n"},
	{"set and set back", abc, all(set("B", "n"), set("B", "2")), abc},
	{"names in either case", "X: 1\nx: 2\nX: 3\n", all(setAt(1, "n"), delAt(0)), "x: n\nX: 3\n"},

	// Deletion.
	{"first deleted", abc, del("A"), "B: 2\nC: 3\n"},
	{"middle deleted", abc, delAt(1), "A: 1\nC: 3\n"},
	{"last deleted", abc, del("c"), "A: 1\nB: 2\n"},
	{"all deleted", abc, all(delAt(0), delAt(0), delAt(0)), ""},
	{"all deleted, then one added", abc, all(del("A"), del("B"), del("C"), add("N", "n")), "N: n\n"},
	{"all of a name deleted", xyxx, del("X"), "Y: y\n"},
	{"first of three deleted", xyxx, delAt(0), "Y: y\nX: 2\nX: 3\n"},
	{"second of three deleted, others changed", xyxx, all(delAt(2), setAt(0, "n"), setAt(2, "m")), "X: n\nY: y\nX: m\n"},
	{"first and third of three deleted", xyxx, all(delAt(3), delAt(0)), "Y: y\nX: 2\n"},
	{"missing one deleted", abc, del("N"), abc},
	{"same ones, one deleted", "X: 1\nX: 1\nY: y\nX: 1\n", delAt(1), "X: 1\nY: y\nX: 1\n"},

	// Insertion.
	{"inserted in front", abc, insert(0, "N", "n"), "N: n\n" + abc},
	{"inserted behind the first", abc, insert(1, "N", "n"), "A: 1\nN: n\nB: 2\nC: 3\n"},
	{"inserted before the last", abc, insert(2, "N", "n"), "A: 1\nB: 2\nN: n\nC: 3\n"},
	{"inserted at the end", abc, insert(3, "N", "n"), abc + "N: n\n"},
	{"added", abc, all(add("N", "n"), add("M", "m"), add("N", "o")), abc + "N: n\nM: m\nN: o\n"},
	{"added where there is one", xyxx + abc, all(add("X", "n"), add("x", "m")), xyxx + abc + "X: n\nx: m\n"},
	{"inserted everywhere", abc, all(insert(3, "D", "d"), insert(2, "C", "c"), insert(1, "B", "b"), insert(0, "A", "a")), "A: a\nA: 1\nB: b\nB: 2\nC: c\nC: 3\nD: d\n"},
	{"two inserted everywhere", abc, all(add("N", "7"), add("N", "8"), insert(2, "N", "5"), insert(3, "N", "6"), insert(1, "N", "3"), insert(2, "N", "4"), insert(0, "N", "1"), insert(1, "N", "2")),
		"N: 1\nN: 2\nA: 1\nN: 3\nN: 4\nB: 2\nN: 5\nN: 6\nC: 3\nN: 7\nN: 8\n"},
	{"twelve in front", abc, func(h *milter.Header) error {
		for i := range 12 {
			if err := h.Insert(i, "N", strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return nil
	}, "N: 0\nN: 1\nN: 2\nN: 3\nN: 4\nN: 5\nN: 6\nN: 7\nN: 8\nN: 9\nN: 10\nN: 11\n" + abc},
	{"inserted before what was written oddly", "A: 1\n" + odd, insert(1, "N", "n"), "A: 1\nN: n\n" + odd},
	{"inserted behind own ones", named + abc, all(insert(4, "N", "n"), insert(1, "M", "m")), "From: a@example.org\nM: m\n" + strings.TrimPrefix(named, "From: a@example.org\n") + "N: n\n" + abc},
	{"empty ones", abc, all(insert(0, "L", ""), insert(2, "M", ""), add("N", "")), "L: \nA: 1\nM: \nB: 2\nC: 3\nN: \n"},
	{"folded ones", abc, all(insert(0, "L", "l\n\tmore"), insert(2, "M", "m\n more"), add("N", long)), "L: l\n\tmore\nA: 1\nM: m\n more\nB: 2\nC: 3\nN: " + long + "\n"},
	{"8-bit ones", abc, all(insert(0, "L", "\xfc"), insert(2, "M", "grüße"), add("N", "\x80")), "L: \xfc\nA: 1\nM: grüße\nB: 2\nC: 3\nN: \x80\n"},

	// Deletion and insertion.
	{"replaced in place", abc, all(delAt(1), insert(1, "B", "n")), "A: 1\nB: n\nC: 3\n"},
	{"replaced in place by one in other case", abc, all(delAt(1), insert(1, "b", "n")), "A: 1\nb: n\nC: 3\n"},
	{"replaced in place by two", abc, all(delAt(1), insert(1, "B", "n"), insert(2, "B", "m")), "A: 1\nB: n\nB: m\nC: 3\n"},
	{"replaced in place by another name", abc, all(delAt(1), insert(1, "N", "n")), "A: 1\nN: n\nC: 3\n"},
	{"deleted, then added", abc, all(del("A"), add("A", "n")), "B: 2\nC: 3\nA: n\n"},
	{"deleted, then added as it was", abc, all(del("C"), add("C", "3")), abc},
	{"moved to the front", abc, all(del("C"), insert(0, "C", "3")), "C: 3\nA: 1\nB: 2\n"},
	{"moved up one by one", "X: 1\nX: 2\nX: 3\nY: y\n", all(setAt(0, "2"), setAt(1, "3"), setAt(2, "4")), "X: 2\nX: 3\nX: 4\nY: y\n"},
	{"inserted behind deleted ones", "A: 1\nB: 2\nC: 3\nD: 4\nE: 5\n", all(delAt(1), delAt(1), insert(1, "N", "n"), insert(3, "M", "m")), "A: 1\nN: n\nD: 4\nM: m\nE: 5\n"},
	{"front deleted, then inserted", abc, all(delAt(0), delAt(0), insert(0, "N", "n"), insert(1, "M", "m")), "N: n\nM: m\nC: 3\n"},
	{"end deleted, then inserted", abc, all(delAt(2), delAt(1), insert(1, "N", "n"), insert(2, "A", "m")), "A: 1\nN: n\nA: m\n"},
	{"new one deleted and changed", abc, all(add("N", "n"), insert(0, "M", "m"), set("M", "k"), del("N")), "M: k\n" + abc},
	many("many at once", 120),

	// Fields that the MTAs have ways of their own with.
	{"From set", named + abc, set("from", "n@example.org"), strings.Replace(named, "a@", "n@", 1) + abc},
	{"own ones set", named, all(set("From", "n@example.org"), set("Date", "2 Jan 2001 12:00 +0000"), set("Message-Id", "<n@example.org>")),
		"From: n@example.org\nDate: 2 Jan 2001 12:00 +0000\nMessage-Id: <n@example.org>\nSubject: s\n"},
	{"own ones set empty", named, all(set("From", ""), set("Date", ""), set("Message-Id", "")), "From: \nDate: \nMessage-Id: \nSubject: s\n"},
	{"own ones deleted", named + abc, all(del("From"), del("Date"), del("Message-Id")), "Subject: s\n" + abc},
	{"own ones deleted, then added", named, all(del("From"), del("Date"), del("Message-Id"), add("Message-ID", "<n@example.org>"), add("Date", "2 Jan 2001 12:00 +0000"), insert(0, "from", "n@example.org")),
		"from: n@example.org\nSubject: s\nMessage-ID: <n@example.org>\nDate: 2 Jan 2001 12:00 +0000\n"},
	{"second own ones", named, all(add("From", "n@example.org"), insert(0, "Message-Id", "<n@example.org>"), insert(3, "Date", "2 Jan 2001 12:00 +0000")),
		"Message-Id: <n@example.org>\nFrom: a@example.org\nDate: 1 Jan 2001 12:00 +0000\nDate: 2 Jan 2001 12:00 +0000\nMessage-Id: <1@example.org>\nSubject: s\nFrom: n@example.org\n"},
	{"missing own ones added", abc, all(add("Message-Id", "<n@example.org>"), add("From", "n@example.org"), add("Date", "2 Jan 2001 12:00 +0000")),
		abc + "Message-Id: <n@example.org>\nFrom: n@example.org\nDate: 2 Jan 2001 12:00 +0000\n"},
	{"missing own ones inserted", abc, all(insert(2, "Date", "2 Jan 2001 12:00 +0000"), insert(1, "message-id", "<n@example.org>"), insert(0, "From", "n@example.org")),
		"From: n@example.org\nA: 1\nmessage-id: <n@example.org>\nB: 2\nDate: 2 Jan 2001 12:00 +0000\nC: 3\n"},
	{"missing own ones in front", abc, all(insert(0, "Date", "2 Jan 2001 12:00 +0000"), insert(1, "N", "n"), insert(2, "From", "n@example.org"), insert(3, "N", "m")),
		"Date: 2 Jan 2001 12:00 +0000\nN: n\nFrom: n@example.org\nN: m\n" + abc},
	{"missing own one added twice", abc, all(add("Message-Id", "<n@example.org>"), add("Message-Id", "<m@example.org>")), abc + "Message-Id: <n@example.org>\nMessage-Id: <m@example.org>\n"},
	{"missing own one set", abc, all(set("Message-Id", "<n@example.org>"), add("N", "n")), abc + "Message-Id: <n@example.org>\nN: n\n"},
	{"Received changed", hops, all(setAt(0, "n"), insert(2, "N", "n")), "Received: n\nReceived: 2\nN: n\nA: 1\n"},
	{"Received deleted", hops, del("Received"), "A: 1\n"},
	{"Received inserted and added", hops, all(insert(0, "Received", "n"), insert(2, "Received", "m"), add("Received", "o")), "Received: n\nReceived: 1\nReceived: m\nReceived: 2\nA: 1\nReceived: o\n"},
	{"missing Received added", abc, all(add("Received", "n"), insert(0, "Received", "m")), "Received: m\n" + abc + "Received: n\n"},
	{"addresses", "To: a@example.org\nCc: b@example.org\nSubject: s\n", all(set("To", "n@example.org"), add("Cc", "m@example.org"), insert(1, "Reply-To", "r@example.org"), insert(0, "Sender", "s@example.org")),
		"Sender: s@example.org\nTo: n@example.org\nReply-To: r@example.org\nCc: b@example.org\nSubject: s\nCc: m@example.org\n"},
	{"MIME", "MIME-Version: 1.0\nContent-Type: text/plain\nSubject: s\n", all(set("Content-Type", "text/plain; charset=utf-8"), insert(1, "Content-Transfer-Encoding", "7bit"), setAt(3, "n")),
		"MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\nContent-Type: text/plain; charset=utf-8\nSubject: n\n"},
	{"resent", "Resent-From: a@example.org\n" + named, all(set("Resent-From", "n@example.org"), add("Resent-To", "m@example.org"), insert(1, "N", "n")),
		"Resent-From: n@example.org\nN: n\n" + named + "Resent-To: m@example.org\n"},
	{"blank before the colon", "X : 1\nX: 2\nA: 1\n", set("X", "9"), "X: 9\nA: 1\n"},
	{"nothing at all", "", all(add("N", "n"), insert(0, "M", "m")), "M: m\nN: n\n"},
}

// The recipient of a case tells its number, and whether SMFIP_HDR_LEADSPC is to be negotiated: which of the filters edits it.
const (
	withSpace = "space-"
	plain     = "plain-"
)

// filterWay is what a filter may do, and how it edits a mail to rcpt: nil if that is another's.
type filterWay struct {
	actions milter.Action
	edits   func(rcpt string) func(h *milter.Header) error
	macros  map[milter.Stage][]string
}

// filterWays are the filters that a process can be.
var filterWays = map[string]filterWay{
	withSpace: {changesHeader, editsOf(withSpace, headerCases), nil},
	plain:     {changesHeader, editsOf(plain, headerCases), nil},
	first:     {changesHeader, chainEdits(true), nil},
	second:    {changesHeader, chainEdits(false), nil},
	adding:    {milter.SMFIF_ADDHDRS, editsOf(adding, addingCases), nil},
	asking: {milter.SMFIF_ADDHDRS, editsOf(asking, addingCases), map[milter.Stage][]string{
		// Sendmail looks at the list of the one stage for the other.
		milter.SMFIM_CONNECT: {"j"}, milter.SMFIM_EOH: {"i"}, milter.SMFIM_EOM: {"i"},
	}},
}

func editsOf(way string, cases []headerCase) func(rcpt string) func(h *milter.Header) error {
	return func(rcpt string) func(h *milter.Header) error {
		if i, ours := caseOf(way, rcpt); ours {
			return cases[i].edit
		}
		return nil
	}
}

const headerSender = "envelope@example.com" // which no header field has

func TestHeaderPostfix(t *testing.T) {
	t.Parallel()
	// With SMTPUTF8, which net/smtp asks for, 8-bit fields would not reach the sink.
	params := map[string]string{"smtputf8_enable": "no"}
	f := startHeaderFilters(t, withSpace, plain)
	s := postfix.Start(t, postfix.Config{Milters: f.addrs(), Params: params})
	sendHeaders(t, s.Addr())
	f.assertDelivered(headerCases, s.WaitDelivered(2*len(headerCases)))
}

func TestHeaderSendmail(t *testing.T) {
	t.Parallel()
	f := startHeaderFilters(t, withSpace, plain)
	s := sendmail.Start(t, sendmail.Config{Milters: f.addrs()})
	sendHeaders(t, s.Addr())
	f.assertDelivered(headerCases, s.WaitDelivered(2*len(headerCases)))
}

// sendHeaders sends all cases.
func sendHeaders(t *testing.T, addr string) {
	client, err := smtp.Dial(addr)
	require.NoError(t, err)
	defer client.Close()
	for _, way := range []string{withSpace, plain} {
		for i, c := range headerCases {
			sendHeader(t, client, fmt.Sprintf("%s%d@example.org", way, i), c.sent)
		}
	}
	require.NoError(t, client.Quit())
}

// sendHeader sends a mail with a header to one recipient.
func sendHeader(t *testing.T, client *smtp.Client, rcpt, header string) {
	require.NoError(t, client.Mail(headerSender))
	require.NoError(t, client.Rcpt(rcpt))
	data, err := client.Data()
	require.NoError(t, err)
	_, err = io.WriteString(data, header+"\nbody\n")
	require.NoError(t, err)
	require.NoError(t, data.Close(), header)
}

// headerFilters are two processes, each with a filter that edits its part of the mails.
type headerFilters []*headerFilter

func startHeaderFilters(t *testing.T, ways ...string) (filters headerFilters) {
	for _, way := range ways {
		filters = append(filters, startHeaderFilter(t, way))
	}
	return filters
}

func (f headerFilters) addrs() (addrs []string) {
	for _, filter := range f {
		addrs = append(addrs, "unix:"+filter.socket)
	}
	return addrs
}

// assertDelivered compares the mails that were delivered with the cases, and with what the filter saw.
func (f headerFilters) assertDelivered(cases []headerCase, mails []harness.Mail) {
	t := f[0].t
	require.Len(t, mails, len(f)*len(cases))
	for _, filter := range f {
		seen := filter.ends()
		for _, mail := range mails {
			rcpt := mail.Rcpts[0].Address
			i, ours := caseOf(filter.way, rcpt)
			if !ours {
				continue
			}
			c := cases[i]
			t.Run(filter.way+c.name, func(t *testing.T) {
				require.Contains(t, seen, rcpt)
				assert.Empty(t, seen[rcpt].Error)
				got := c.delivered(mail.Header)
				if filter.way != plain {
					assert.Equal(t, c.want, got)
					assert.Equal(t, c.want, string(seen[rcpt].Header))
				} else {
					assert.Equal(t, c.want, oneSpace.ReplaceAllString(got, ": \n"))
					assert.Equal(t, unspaced.ReplaceAllString(c.want, "$1"), unspaced.ReplaceAllString(string(seen[rcpt].Header), "$1"))
				}
			})
		}
	}
}

var (
	// Without SMFIP_HDR_LEADSPC a value that is set empty is as empty as it can be: a space behind the MTA's own.
	oneSpace = regexp.MustCompile(`:  \n`)
	unspaced = regexp.MustCompile(`(?m)^([^\s:]+:)[ \t]*`)
)

// addedByMTA are fields that the MTAs add, and their names.
var addedByMTA = map[string]*regexp.Regexp{
	"Received":   regexp.MustCompile(`^from .* by mail\.example\.org `),
	"From":       regexp.MustCompile(headerSender),
	"Date":       regexp.MustCompile(`^[A-Z]`),
	"Message-Id": regexp.MustCompile(`@mail\.example\.org>$`),
	// Of a mail that is resent, the same.
	"Resent-Date": regexp.MustCompile(`^[A-Z]`), "Resent-Message-Id": regexp.MustCompile(`@mail\.example\.org>$`),
}

// delivered gives a header without the fields that the MTA has added. It adds those only that neither the sender nor the
// filter has: the filter's are in their place.
func (c headerCase) delivered(fields []string) string {
	var b strings.Builder
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		has := regexp.MustCompile(`(?mi)^` + regexp.QuoteMeta(name) + ` ?:`)
		added := addedByMTA[name]
		if added != nil && added.MatchString(strings.Join(strings.Fields(value), " ")) &&
			(name == "Received" || !has.MatchString(c.sent) && !has.MatchString(c.want)) {
			continue
		}
		b.WriteString(field + "\n")
	}
	return b.String()
}

// What a filter's process is told.
const (
	envFilterAddr = "MILTER_HEADER_ADDR"
	envFilterWay  = "MILTER_HEADER_WAY"
)

// headerFilter is a filter's process, as the test sees it.
type headerFilter struct {
	t      *testing.T
	way    string
	socket string
	stdin  io.Closer
	output bytes.Buffer
	ended  func() error
}

// edited is what the process says about a mail that it has edited.
type edited struct {
	Rcpt   string
	Shown  []byte // JSON has no 8-bit strings
	Header []byte
	Error  string
}

func startHeaderFilter(t *testing.T, way string) *headerFilter {
	f := &headerFilter{t: t, way: way, socket: filepath.Join(postfix.TempDir(t), "filter")}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envFilterAddr+"=unix:"+f.socket, envFilterWay+"="+way)
	var log lines
	cmd.Stdout, cmd.Stderr = &f.output, &log
	stdin, err := cmd.StdinPipe() // which ends with this process, and the filter with it
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	f.stdin, f.ended = stdin, sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = stdin.Close()
		assert.NoError(t, f.ended())
		assert.Empty(t, log.String())
	})
	require.True(t, harness.Poll(func() bool {
		conn, err := net.Dial("unix", f.socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}), "no filter listens")
	return f
}

// caseOf gives the number of the case that a recipient stands for, and whether a filter edits it.
func caseOf(way, rcpt string) (i int, ours bool) {
	number, ours := strings.CutPrefix(strings.Trim(rcpt, "<>"), way)
	number, _, _ = strings.Cut(number, "@")
	i, err := strconv.Atoi(number)
	return i, ours && err == nil
}

// ends ends the process, and gives what it said, by recipient.
func (f *headerFilter) ends() map[string]edited {
	require.NoError(f.t, f.stdin.Close())
	require.NoError(f.t, f.ended())
	all := map[string]edited{}
	for decoder := json.NewDecoder(&f.output); ; {
		var e edited
		err := decoder.Decode(&e)
		if err == io.EOF {
			return all
		}
		require.NoError(f.t, err)
		all[e.Rcpt] = e
	}
}

// runFilter is the main function of a filter's process. It ends with standard input.
func runFilter(addr string) int {
	way := os.Getenv(envFilterWay)
	var mu sync.Mutex
	say := json.NewEncoder(os.Stdout)
	srv := &milter.Server{
		Addr: addr, SocketMode: 0o666, // Postfix runs as a user of its own
		Actions: filterWays[way].actions, Macros: filterWays[way].macros,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if way == plain { // for which the library does not ask for SMFIP_HDR_LEADSPC
		srv.Callbacks.Header = func(*milter.Session, string, string) milter.Status { return milter.SMFIS_CONTINUE }
	}
	srv.Callbacks.Message = func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
		rcpt := msg.Rcpts[0].Mailbox()
		edit := filterWays[way].edits(rcpt)
		if edit == nil {
			return milter.SMFIS_CONTINUE
		}
		said := edited{Rcpt: rcpt, Shown: []byte(text(msg.Header, way != plain))}
		if err := edit(msg.Header); err != nil {
			said.Error = err.Error()
		}
		said.Header = []byte(text(msg.Header, way != plain))
		mu.Lock()
		defer mu.Unlock()
		if err := say.Encode(said); err != nil {
			panic(err)
		}
		return milter.SMFIS_CONTINUE
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Shutdown(context.Background())
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, milter.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// text gives a header as it stands in a mail. Without SMFIP_HDR_LEADSPC the MTA puts the space behind the colon.
func text(h *milter.Header, spaced bool) string {
	var b strings.Builder
	for name, value := range h.All() {
		if !spaced {
			value = " " + value
		}
		fmt.Fprintf(&b, "%s:%s\n", name, value)
	}
	return b.String()
}
