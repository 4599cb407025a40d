package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// batch is a series of sessions that one pair of filters is given, one after the other. A session's outcome may depend on
// those before it: libmilter keeps what was negotiated in a table of the process (fix_stm in its engine.c).
type batch struct {
	*settings
	programs *programs
	model    model
	policy   policy
	number   uint64
	trace    bool
}

// outcome is what came of a session.
type outcome struct {
	number    uint64
	session   session
	c, golang answer
}

// same tells whether the filters agree.
func (o outcome) same() bool {
	return o.c.err == nil && o.golang.err == nil && slices.Equal(o.c.stream, o.golang.stream) && slices.Equal(o.c.notes, o.golang.notes)
}

// first and end are the numbers of the batch's sessions.
func (b *batch) first() uint64 { return b.number * b.batch }
func (b *batch) end() uint64   { return min(b.first()+b.batch, b.sessions) }

// run gives the sessions up to end to the filters, and to see what came of each. It ends where see says so. The findings are
// what AddressSanitizer has to say.
func (b *batch) run(end uint64, see func(outcome) (on bool)) (findings []finding, err error) {
	for next := b.first(); next < end; {
		var found []finding
		if next, found, err = b.runPair(next, end, see); err != nil {
			return nil, err
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// runPair gives the sessions from next on to a fresh pair of filters, and says which is the next for another pair: where
// one has died of a hostile session, another is to go on.
func (b *batch) runPair(next, end uint64, see func(outcome) bool) (uint64, []finding, error) {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	c, golang, err := b.start(dir)
	if err != nil {
		return 0, nil, err
	}
	next = b.give(c, golang, next, end, see)
	c.stop()
	golang.stop()
	findings, err := readFindings(dir)
	return next, findings, err
}

// start starts both filters.
func (b *batch) start(dir string) (c, golang *filter, err error) {
	r := rand.New(rand.NewPCG(b.seed, b.policy.sessions+b.number))
	actions, callbacks := b.policy.setup(r)
	args := []string{strconv.FormatUint(r.Uint64(), 10), strconv.FormatUint(uint64(actions), 16), strings.Join(callbacks, ","), "0"}
	if b.trace {
		args[3] = "1"
	}
	if c, err = startFilter(dir, "C", b.programs.c, b.programs.libraries[b.model.name], args...); err != nil {
		return nil, nil, err
	}
	golang, err = startFilter(dir, "Go", b.programs.golang, b.programs.libraries[b.model.name], append(args, strconv.Itoa(b.fault))...)
	if err != nil {
		c.stop()
		return nil, nil, err
	}
	return c, golang, nil
}

// give gives the sessions from next on to the filters, as long as both live, and says which is the next.
func (b *batch) give(c, golang *filter, next, end uint64, see func(outcome) bool) uint64 {
	for ; next < end; next++ {
		o := outcome{number: next, session: generate(b.seed, b.policy.sessions+next, b.hostile)}
		answered := make(chan answer)
		go func() { answered <- c.converse(o.session) }()
		o.golang = golang.converse(o.session)
		o.c = <-answered
		o.c.complete(c)
		o.golang.complete(golang)
		if next == b.first() && o.c.err == nil && o.golang.err == nil {
			o.c.err = checkModel(c.cmd.Process.Pid, b.model)
			o.golang.err = checkModel(golang.cmd.Process.Pid, b.model)
		}
		if !see(o) {
			return end
		}
		if o.c.err != nil || o.golang.err != nil {
			return next + 1
		}
	}
	return end
}

// complete sees to it that the session has come to its last callback. A filter that has died may need a moment to be gone.
func (a *answer) complete(f *filter) {
	if a.err != nil || len(a.notes) > 0 && strings.HasPrefix(a.notes[len(a.notes)-1], "close ") {
		return
	}
	select {
	case <-f.exited:
		a.err = f.died()
	case <-time.After(patience):
		a.err = fmt.Errorf("the %s filter has ended the session without xxfi_close", f.name)
	}
}

// readFindings reads what AddressSanitizer has said about the filters that have run in dir.
func readFindings(dir string) ([]finding, error) {
	reports, err := filepath.Glob(filepath.Join(dir, "*.asan.*"))
	if err != nil {
		return nil, err
	}
	var findings []finding
	for _, report := range reports {
		text, err := os.ReadFile(report)
		if err != nil {
			return nil, err
		}
		for _, f := range parseFindings(string(text)) {
			f.inGo = strings.HasPrefix(filepath.Base(report), "Go.")
			findings = append(findings, f)
		}
	}
	return findings, nil
}

// repeat is the command that gives exactly this session again, after those before it.
func (b *batch) repeat(number uint64) string {
	command := fmt.Sprintf("go run ./test/conformance -seed=%d -models=%s -policies=%s -batch=%d -session=%d", b.seed, b.model.name,
		b.policy.name, b.batch, number)
	if b.asan {
		command += " -asan"
	}
	if b.hostile {
		command += " -hostile"
	}
	if b.fault != 0 {
		command += fmt.Sprintf(" -fault=%d", b.fault)
	}
	return command
}
