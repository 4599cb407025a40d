package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/d--j/go-milter"
)

// printer writes the conversation for people to read. No byte of the mail or of the filter reaches the terminal unescaped.
type printer struct{ w io.Writer }

func (p *printer) line(s string) { fmt.Fprintln(p.w, visible(s)) }

// step prints a step and the reply, which is escaped already.
func (p *printer) step(text, reply string) { fmt.Fprintf(p.w, "%s -> %s\n", visible(text), reply) }

func (p *printer) verdict(v verdict) { fmt.Fprintf(p.w, "VERDICT %s\n", v) }

// negotiated prints what the filter asked for, by libmilter's names.
func (p *printer) negotiated(version uint32, filter *milter.ClientSession) {
	actions := bitNames(actionNames, func(bit int) bool { return filter.ActionOption(1 << bit) })
	protocol := bitNames(protocolNames, func(bit int) bool { return filter.ProtocolOption(1 << bit) })
	fmt.Fprintf(p.w, "NEGOTIATED version %d, actions %s, protocol %s\n", version, actions, protocol)
}

// change prints one change that the filter asked for.
func (p *printer) change(act milter.ModifyAction) { p.line("  " + changeText(act)) }

func changeText(act milter.ModifyAction) string {
	field := act.HeaderName + ": " + act.HeaderValue
	switch act.Type {
	case milter.ActionAddHeader:
		return "add header " + field
	case milter.ActionInsertHeader:
		return fmt.Sprintf("insert header at %d %s", act.HeaderIndex, field)
	case milter.ActionChangeHeader:
		if act.HeaderValue == "" {
			return fmt.Sprintf("delete header %d %s", act.HeaderIndex, act.HeaderName)
		}
		return fmt.Sprintf("change header %d %s", act.HeaderIndex, field)
	case milter.ActionChangeFrom:
		return strings.TrimSuffix("change sender to "+act.From+" "+act.FromArgs, " ")
	case milter.ActionAddRcpt:
		return strings.TrimSuffix("add recipient "+act.Rcpt+" "+act.RcptArgs, " ")
	case milter.ActionDelRcpt:
		return "delete recipient " + act.Rcpt
	case milter.ActionReplaceBody:
		return fmt.Sprintf("replace body with %d bytes", len(act.Body))
	case milter.ActionQuarantine:
		return "quarantine: " + act.Reason
	}
	return act.String()
}

// held prints an envelope and a header, which keeps its folding.
func (p *printer) held(e envelope, header []field) {
	p.line("")
	p.line("MAIL FROM:" + e.from)
	for _, rcpt := range e.rcpts {
		p.line("RCPT TO:" + rcpt)
	}
	p.line("")
	for _, f := range header {
		for text := range strings.SplitSeq(f.name+":"+f.value, "\n") {
			fmt.Fprintln(p.w, visibleTabbed(text))
		}
	}
}

// visibleTabbed is visible, but for tabs, which fold headers.
func visibleTabbed(s string) string {
	parts := strings.Split(s, "\t")
	for i := range parts {
		parts[i] = visible(parts[i])
	}
	return strings.Join(parts, "\t")
}

// visible escapes what is not printable as %q does, but leaves quotes as they are.
func visible(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// actionNames and protocolNames are libmilter's names by bit.
var (
	actionNames = []string{"SMFIF_ADDHDRS", "SMFIF_CHGBODY", "SMFIF_ADDRCPT", "SMFIF_DELRCPT", "SMFIF_CHGHDRS",
		"SMFIF_QUARANTINE", "SMFIF_CHGFROM", "SMFIF_ADDRCPT_PAR", "SMFIF_SETSYMLIST"}
	protocolNames = []string{"SMFIP_NOCONNECT", "SMFIP_NOHELO", "SMFIP_NOMAIL", "SMFIP_NORCPT", "SMFIP_NOBODY",
		"SMFIP_NOHDRS", "SMFIP_NOEOH", "SMFIP_NR_HDR", "SMFIP_NOUNKNOWN", "SMFIP_NODATA", "SMFIP_SKIP",
		"SMFIP_RCPT_REJ", "SMFIP_NR_CONN", "SMFIP_NR_HELO", "SMFIP_NR_MAIL", "SMFIP_NR_RCPT", "SMFIP_NR_DATA",
		"SMFIP_NR_UNKN", "SMFIP_NR_EOH", "SMFIP_NR_BODY", "SMFIP_HDR_LEADSPC"}
)

func bitNames(names []string, isSet func(bit int) bool) string {
	var set []string
	for bit, name := range names {
		if isSet(bit) {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, "|")
}
