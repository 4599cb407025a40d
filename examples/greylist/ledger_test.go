package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// ledger is what is known of the mails of a test: by their clients, by the filters, and by what the MTA delivered.
type ledger struct {
	mails     []*testMail
	decisions map[string][]string // by recipient: the outcomes in the filters' logs, filter by filter
	kept      map[string]int      // by recipient: how many of them are of filters that were not killed
	delivered []string            // ids
}

// passes are the outcomes with which a filter lets a recipient pass.
var passes = []string{string(retried), string(known), "store_down_accepted"}

// faults tells what is wrong: each accepted mail must have passed a filter and arrive once, and no other mail may arrive. A
// mail that a filter told to wait is told so once, whichever filter it meets then.
func (l *ledger) faults() (faults []string) {
	arrived := map[string]int{}
	for _, id := range l.delivered {
		arrived[id]++
	}
	for _, m := range l.mails {
		faults = append(faults, l.faultsOf(m, arrived[m.id])...)
		delete(arrived, m.id)
	}
	for id, n := range arrived {
		faults = append(faults, fmt.Sprintf("%s arrived %d times and was never sent", id, n))
	}
	return faults
}

func (l *ledger) faultsOf(m *testMail, arrived int) (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s ", m.id)+fmt.Sprintf(format, args...)+fmt.Sprintf("; decisions %v, attempts %v", l.decisions[m.recipient()], m.attempts))
	}
	if want := map[bool]int{true: 1}[m.accepted()]; arrived != want {
		fault("arrived %d times, want %d", arrived, want)
	}
	if m.accepted() && !slices.ContainsFunc(l.decisions[m.recipient()], func(outcome string) bool { return slices.Contains(passes, outcome) }) {
		fault("was accepted, and passed no filter")
	}
	if times := l.timesNew(m); times > 1 {
		fault("was new to the filters %d times", times)
	}
	answered := 0
	for _, a := range m.attempts {
		if !a.says(saysNoFilter) {
			answered++
		}
	}
	if l.kept[m.recipient()] > answered {
		fault("was refused for want of a filter in a session of one that was not killed")
	}
	for _, a := range m.attempts {
		if !a.accepted() && !a.says(saysGreylisted) && !a.says(saysStoreDown) && !a.says(saysNoFilter) {
			fault("was refused with an answer that nobody asked for")
		}
	}
	return faults
}

// timesNew tells how often a mail was told to wait as if nobody had seen it before.
func (l *ledger) timesNew(m *testMail) (n int) {
	for _, outcome := range l.decisions[m.recipient()] {
		if outcome == string(firstSeen) {
			n++
		}
	}
	return n
}

// decided is a line of a filter's log.
type decided struct {
	Outcome   string `json:"msg"`
	Recipient string
}

// decisions gives what the filter has logged about recipients so far.
func (p *process) decisions() (all []decided) {
	p.t.Helper()
	log := harness.ReadLog(p.t, p.log)
	for line := range strings.Lines(log[:strings.LastIndexByte(log, '\n')+1]) {
		var d decided
		require.NoError(p.t, json.Unmarshal([]byte(line), &d), line)
		if d.Recipient != "" {
			all = append(all, decided{d.Outcome, trimPath(d.Recipient)})
		}
	}
	return all
}

// decidedAbout gives the outcomes that the filter has logged about a recipient so far.
func (p *process) decidedAbout(recipient string) (outcomes []string) {
	p.t.Helper()
	for _, d := range p.decisions() {
		if d.Recipient == recipient {
			outcomes = append(outcomes, d.Outcome)
		}
	}
	return outcomes
}

// idOf gives the id of a mail that was delivered, which must be as it was sent.
func idOf(t *testing.T, delivered harness.Mail) string {
	t.Helper()
	require.Len(t, delivered.Rcpts, 1)
	id, _ := splitAddress(delivered.Rcpts[0].Address)
	sent := &testMail{id: id}
	require.GreaterOrEqual(t, len(delivered.Header), len(sent.header()))
	header := delivered.Header[len(delivered.Header)-len(sent.header()):]
	require.Equal(t, sent.header(), header)
	require.Equal(t, sent.body(), string(delivered.Body), "%s came with another text", id)
	return id
}

func TestLedger(t *testing.T) {
	told := func(says ...string) (attempts []attempt) {
		for _, text := range says {
			code, after := 250, ""
			_, _ = fmt.Sscanf(text, "%d", &code)
			_, after, _ = strings.Cut(text, " ")
			attempts = append(attempts, attempt{reply: reply{code, after}})
		}
		return attempts
	}
	accepted := told(saysGreylisted, "")
	waits := told(saysGreylisted)
	passed := []string{"first_seen", "retried"}
	for name, tc := range map[string]struct {
		attempts  []attempt
		decisions []string // all but the first are of filters that were not killed
		delivered []string
		want      string
	}{
		"accepted":                 {accepted, passed, []string{"a"}, ""},
		"waits":                    {waits, passed[:1], nil, ""},
		"by a filter that ended":   {told(saysGreylisted, saysNoFilter, ""), []string{"first_seen", "retried", "known"}, []string{"a"}, ""},
		"by one that did not":      {told(saysGreylisted, saysNoFilter, ""), []string{"first_seen", "early", "retried", "known"}, []string{"a"}, "in a session of one that was not killed"},
		"while the store was down": {told(""), []string{"store_down_accepted"}, []string{"a"}, ""},
		"dropped":                  {accepted, passed, nil, "a arrived 0 times, want 1"},
		"doubled":                  {accepted, passed, []string{"a", "a"}, "a arrived 2 times, want 1"},
		"delivered, not accepted":  {waits, passed[:1], []string{"a"}, "a arrived 1 times, want 0"},
		"nobody's":                 {accepted, passed, []string{"a", "b"}, "b arrived 1 times and was never sent"},
		"past the filters":         {told(""), nil, []string{"a"}, "a was accepted, and passed no filter"},
		"before its time":          {told(""), passed[:1], []string{"a"}, "a was accepted, and passed no filter"},
		"new to the second filter": {told(saysGreylisted, saysGreylisted, ""), []string{"first_seen", "first_seen", "retried"}, []string{"a"}, "a was new to the filters 2 times"},
		"refused by the MTA":       {told("452 4.3.1 Insufficient system storage"), nil, nil, "a was refused with an answer that nobody asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{mails: []*testMail{{id: "a", attempts: tc.attempts}}, delivered: tc.delivered,
				decisions: map[string][]string{"a@example.com": tc.decisions}, kept: map[string]int{"a@example.com": len(tc.decisions) - 1}}
			faults := l.faults()
			if tc.want == "" {
				require.Empty(t, faults)
				return
			}
			require.Len(t, faults, 1)
			require.Contains(t, faults[0], tc.want)
		})
	}
}
