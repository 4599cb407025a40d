package main

import (
	"slices"
	"strings"

	"github.com/d--j/go-milter"
)

// joinBody makes one change of body chunks that follow one another.
func joinBody(changes []milter.ModifyAction) []milter.ModifyAction {
	var joined []milter.ModifyAction
	for _, act := range changes {
		last := len(joined) - 1
		if act.Type == milter.ActionReplaceBody && last >= 0 && joined[last].Type == milter.ActionReplaceBody {
			joined[last].Body = append(joined[last].Body, act.Body...)
			continue
		}
		joined = append(joined, act)
	}
	return joined
}

func isQuarantine(act milter.ModifyAction) bool { return act.Type == milter.ActionQuarantine }

// envelope is a sender and the recipients, in angle brackets and with the ESMTP arguments that follow them.
type envelope struct {
	from  string
	rcpts []string
}

// result is the envelope and the header as Postfix holds them after the filter's changes.
func (c *conversation) result() (envelope, []field) {
	e := envelope{from: path(*c.opt.from, c.opt.fromArgs...)}
	for _, rcpt := range c.rcpts {
		e.rcpts = append(e.rcpts, path(rcpt, c.opt.rcptArgs...))
	}
	blank := " "
	if c.filter.ProtocolOption(milter.OptHeaderLeadingSpace) {
		blank = "" // the filter's values hold it
	}
	header := slices.Clone(c.msg.header)
	for _, act := range c.changes {
		e.apply(act)
		header = applyHeader(header, act, blank)
	}
	return e, header
}

// path is an address in angle brackets and its arguments.
func path(addr string, args ...string) string {
	return milter.AddAngle(addr) + printedArgs(args)
}

func (e *envelope) apply(act milter.ModifyAction) {
	switch act.Type {
	case milter.ActionChangeFrom:
		e.from = path(act.From, strings.Fields(act.FromArgs)...)
	case milter.ActionAddRcpt:
		e.rcpts = append(e.rcpts, path(act.Rcpt, strings.Fields(act.RcptArgs)...))
	case milter.ActionDelRcpt:
		gone := path(act.Rcpt)
		e.rcpts = slices.DeleteFunc(e.rcpts, func(rcpt string) bool {
			return rcpt == gone || strings.HasPrefix(rcpt, gone+" ")
		})
	}
}

// applyHeader applies a change to the header. An added field comes last; so does one that is inserted past the end, or that
// is to change and is not there.
func applyHeader(header []field, act milter.ModifyAction, blank string) []field {
	changed := field{act.HeaderName, blank + act.HeaderValue}
	switch act.Type {
	case milter.ActionAddHeader:
		return append(header, changed)
	case milter.ActionInsertHeader:
		return slices.Insert(header, int(min(act.HeaderIndex, uint32(len(header)))), changed)
	case milter.ActionChangeHeader:
		i := findField(header, act.HeaderName, int(act.HeaderIndex))
		switch {
		case i >= 0 && act.HeaderValue == "":
			return slices.Delete(header, i, i+1)
		case i >= 0:
			header[i] = changed
		case act.HeaderValue != "":
			return append(header, changed)
		}
	}
	return header
}

// findField is the index of the nth field of that name, counted from 1; -1 if there are fewer.
func findField(header []field, name string, n int) int {
	for i, f := range header {
		if strings.EqualFold(f.name, name) {
			n--
			if n == 0 {
				return i
			}
		}
	}
	return -1
}
