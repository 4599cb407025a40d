package message

import (
	"fmt"
	"net/smtp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// The filters of a chain, which both may do all. A recipient "chain-3-ba" is the third case's, with its filters the other way
// round.
const (
	first  = "first-"
	second = "second-"
)

// chainCase is a mail that two filters edit, one after the other.
type chainCase struct {
	name   string
	a, b   func(h *milter.Header) error
	ab, ba string // what is delivered if a, or b, comes first, where the MTA has not changed the header before
}

// chained is the header of these cases.
const chained = "A: 1\nB: 2\nC: 3\nB: 4\nD: 5\n"

var chainCases = []chainCase{
	{"front, front", insert(0, "N", "a"), insert(0, "M", "b"), "M: b\nN: a\n" + chained, "N: a\nM: b\n" + chained},
	{"two in front, two in front", all(insert(0, "N", "1"), insert(1, "N", "2")), all(insert(0, "M", "1"), insert(1, "M", "2")),
		"M: 1\nM: 2\nN: 1\nN: 2\n" + chained, "N: 1\nN: 2\nM: 1\nM: 2\n" + chained},
	{"front, behind the first", insert(0, "N", "a"), insert(1, "M", "b"),
		"N: a\nM: b\n" + chained, "N: a\nA: 1\nM: b\n" + strings.TrimPrefix(chained, "A: 1\n")},
	{"deleted, behind the second", delAt(0), insert(2, "N", "n"), "B: 2\nC: 3\nN: n\nB: 4\nD: 5\n", "B: 2\nN: n\nC: 3\nB: 4\nD: 5\n"},
	{"all of a name deleted, in the middle", del("B"), insert(2, "N", "n"), "A: 1\nC: 3\nN: n\nD: 5\n", "A: 1\nN: n\nC: 3\nD: 5\n"},
	{"deleted, added", del("B"), add("B", "n"), "A: 1\nC: 3\nD: 5\nB: n\n", "A: 1\nC: 3\nD: 5\n"},
	{"deleted, set", del("B"), set("B", "n"), "A: 1\nC: 3\nD: 5\nB: n\n", "A: 1\nC: 3\nD: 5\n"},
	{"one of two deleted, the other set", delAt(1), set("B", "n"), "A: 1\nC: 3\nB: n\nD: 5\n", "A: 1\nC: 3\nD: 5\n"},
	{"one in the middle, one in the middle", insert(2, "N", "a"), insert(2, "M", "b"),
		"A: 1\nB: 2\nM: b\nN: a\nC: 3\nB: 4\nD: 5\n", "A: 1\nB: 2\nN: a\nM: b\nC: 3\nB: 4\nD: 5\n"},
	{"renamed, renamed", all(delAt(1), insert(1, "X-B", "2")), all(delAt(3), insert(3, "X-B", "4")),
		"A: 1\nX-B: 2\nC: 3\nX-B: 4\nD: 5\n", "A: 1\nX-B: 2\nC: 3\nX-B: 4\nD: 5\n"},
	{"everything, everything", all(insert(0, "N", "a"), setAt(1, "x"), delAt(2), insert(3, "M", "a"), add("B", "a")),
		all(add("A", "b"), setAt(1, "y"), delAt(0), insert(1, "M", "b"), insert(0, "N", "b")),
		"N: b\nA: y\nM: b\nC: 3\nM: a\nB: 4\nD: 5\nB: a\nA: b\n", "N: a\nN: x\nM: b\nM: a\nC: 3\nB: 4\nD: 5\nA: b\nB: a\n"},
	{"own ones added, own ones behind the first", all(add("From", "a@example.org"), insert(0, "Date", "1 Jan 2001 12:00 +0000"), insert(2, "Message-Id", "<a@example.org>")),
		insert(1, "N", "n"),
		"Date: 1 Jan 2001 12:00 +0000\nN: n\nA: 1\nMessage-Id: <a@example.org>\nB: 2\nC: 3\nB: 4\nD: 5\nFrom: a@example.org\n",
		"Date: 1 Jan 2001 12:00 +0000\nA: 1\nMessage-Id: <a@example.org>\nN: n\nB: 2\nC: 3\nB: 4\nD: 5\nFrom: a@example.org\n"},
	{"own one added, set", add("Message-Id", "<a@example.org>"), set("Message-Id", "<b@example.org>"),
		chained + "Message-Id: <b@example.org>\n", chained + "Message-Id: <b@example.org>\nMessage-Id: <a@example.org>\n"},
}

// chainEdits gives the edits of the filter that comes first, or second.
func chainEdits(first bool) func(rcpt string) func(h *milter.Header) error {
	return func(rcpt string) func(h *milter.Header) error {
		i, order, ok := chainOf(rcpt)
		switch {
		case !ok:
			return nil
		case first == (order == "ab"):
			return chainCases[i].a
		default:
			return chainCases[i].b
		}
	}
}

func chainRcpt(i int, order string) string { return fmt.Sprintf("chain-%d-%s@example.org", i, order) }

// chainOf gives the case that a recipient stands for.
func chainOf(rcpt string) (i int, order string, ok bool) {
	local, _, _ := strings.Cut(rcpt, "@")
	part := strings.Split(local, "-")
	if len(part) != 3 || part[0] != "chain" {
		return 0, "", false
	}
	i, err := strconv.Atoi(part[1])
	return i, part[2], err == nil
}

// environment is what an MTA does with a header before filters see it, and which macros it sends.
type environment struct {
	name    string
	shows   string            // of what filters are shown besides; "": nothing
	postfix map[string]string // parameters of main.cf
	mc      string            // or lines of Sendmail's .mc
}

const prepended = "X-Prepended: p"

var (
	prepends = map[string]string{"smtpd_sender_restrictions": "check_sender_access inline:{ { " + headerSender + " = PREPEND " + prepended + " } }"}

	postfixes = []environment{
		{name: "default"},
		{name: "PREPEND by access", shows: prepended, postfix: prepends},
		{name: "PREPEND before Received", shows: prepended, postfix: map[string]string{"header_checks": "regexp:{ { /^Received:/ PREPEND " + prepended + " } }"}},
		{name: "PREPEND before the first", shows: prepended, postfix: map[string]string{"header_checks": "regexp:{ { /^A:/ PREPEND " + prepended + " } }"}},
		{name: "IGNORE of Received", postfix: map[string]string{"header_checks": "regexp:{ { /^Received:/ IGNORE } }"}},
		{name: "always_add_missing_headers", shows: "Message-Id: <", postfix: map[string]string{"always_add_missing_headers": "yes"}},
	}

	sendmails = []environment{
		{name: "default"},
		{name: "a field of its own", mc: "LOCAL_CONFIG\nHX-Local: of this host\n"},
	}
)

// Two filters, one after the other, edit a mail whose header the MTA may have changed before: what is delivered is what the
// second has made of what the first has made.
func TestHeaderChainPostfix(t *testing.T) {
	t.Parallel()
	for _, env := range postfixes {
		t.Run(env.name, func(t *testing.T) {
			f := startHeaderFilters(t, first, second)
			s := postfix.Start(t, postfix.Config{Milters: f.addrs(), Params: env.postfix})
			f.assertChained(env, sendChains(t, s.Addr(), s.WaitDelivered))
		})
	}
}

func TestHeaderChainSendmail(t *testing.T) {
	t.Parallel()
	for _, env := range sendmails {
		t.Run(env.name, func(t *testing.T) {
			f := startHeaderFilters(t, first, second)
			s := sendmail.Start(t, sendmail.Config{Milters: f.addrs(), MC: env.mc})
			f.assertChained(env, sendChains(t, s.Addr(), s.WaitDelivered))
		})
	}
}

// sendChains sends all cases in both orders.
func sendChains(t *testing.T, addr string, delivered func(n int) []harness.Mail) []harness.Mail {
	client, err := smtp.Dial(addr)
	require.NoError(t, err)
	defer client.Close()
	for i := range chainCases {
		for _, order := range []string{"ab", "ba"} {
			sendHeader(t, client, chainRcpt(i, order), chained)
		}
	}
	require.NoError(t, client.Quit())
	return delivered(2 * len(chainCases))
}

func (f headerFilters) assertChained(env environment, mails []harness.Mail) {
	t := f[0].t
	one, two := f[0].ends(), f[1].ends()
	for _, mail := range mails {
		rcpt := mail.Rcpts[0].Address
		i, order, ok := chainOf(rcpt)
		require.True(t, ok)
		t.Run(chainCases[i].name+"/"+order, func(t *testing.T) {
			require.Contains(t, one, rcpt)
			require.Contains(t, two, rcpt)
			assert.Empty(t, one[rcpt].Error)
			assert.Empty(t, two[rcpt].Error)
			assert.Equal(t, string(one[rcpt].Header), string(two[rcpt].Shown), "what the second is shown is what the first has made")
			want := string(two[rcpt].Header)
			got := headerCase{sent: chained, want: want}.delivered(slices.DeleteFunc(mail.Header, func(field string) bool {
				return strings.HasPrefix(field, "X-Local: ")
			}))
			assert.Equal(t, want, got, "what is delivered is what the second has made")
			if env.shows == "" {
				assert.Equal(t, map[string]string{"ab": chainCases[i].ab, "ba": chainCases[i].ba}[order], want)
			} else {
				assert.Contains(t, string(one[rcpt].Shown), env.shows)
			}
		})
	}
}
