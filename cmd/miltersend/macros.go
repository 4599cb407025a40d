package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/d--j/go-milter"
)

// stageNames are the stages of the -macro flag, in the order of libmilter's SMFIM_*.
var stageNames = []string{"connect", "helo", "mail", "rcpt", "data", "eom", "eoh"}

// everyStage is the stage of a macro that was set for none in particular.
const everyStage = milter.StageEndMarker

// macroSetting is one -macro flag.
type macroSetting struct {
	stage       milter.MacroStage
	name, value string
}

// parseMacro reads [stage:]name=value. A name longer than one byte may lack its braces.
func parseMacro(s string) (macroSetting, error) {
	name, value, ok := strings.Cut(s, "=")
	m := macroSetting{everyStage, name, value}
	if stage, name, hasStage := strings.Cut(name, ":"); hasStage {
		i := slices.Index(stageNames, stage)
		if i < 0 {
			return m, fmt.Errorf("unknown stage %q, want one of %s", stage, strings.Join(stageNames, " "))
		}
		m.stage, m.name = milter.MacroStage(i), name
	}
	if !ok || m.name == "" {
		return m, fmt.Errorf("want name=value")
	}
	if len(m.name) > 1 && m.name[0] != '{' {
		m.name = "{" + m.name + "}"
	}
	return m, nil
}

// macroLists are the names of the macros sent at each stage, indexed by stage.
type macroLists [][]string

// newMacroLists returns Postfix's lists, with the client's macros at connect, and the names of the settings. A setting for
// every stage is sent at connect unless it has a stage already, since a filter finds connect's macros at every later stage.
func newMacroLists(settings []macroSetting) macroLists {
	lists := macroLists{
		milter.StageConnect: {"j", "{daemon_name}", "{daemon_addr}", "v", "_",
			"{client_name}", "{client_addr}", "{client_port}", "{client_ptr}"},
		milter.StageHelo: {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"},
		milter.StageMail: {"i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}"},
		milter.StageRcpt: {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"},
		milter.StageData: {"i"},
		milter.StageEOM:  {"i"},
		milter.StageEOH:  {"i"},
	}
	for _, s := range settings {
		stage := s.stage
		if stage == everyStage {
			if lists.has(s.name) {
				continue
			}
			stage = milter.StageConnect
		}
		if !slices.Contains(lists[stage], s.name) {
			lists[stage] = append(lists[stage], s.name)
		}
	}
	return lists
}

func (l macroLists) has(name string) bool {
	return slices.ContainsFunc(l, func(names []string) bool { return slices.Contains(names, name) })
}

// macros are the values known so far.
type macros struct {
	*milter.MacroBag
	settings []macroSetting
}

// enter sets a stage's macros, given as names and values in turn, and then what the command line sets for it.
func (m macros) enter(stage milter.MacroStage, namesAndValues ...string) {
	for pair := range slices.Chunk(namesAndValues, 2) {
		m.Set(pair[0], pair[1])
	}
	for _, s := range m.settings {
		if s.stage == stage || s.stage == everyStage {
			m.Set(s.name, s.value)
		}
	}
}

func (m macros) enterConnect(c client) {
	m.enter(milter.StageConnect,
		"j", "mx.example.org", "v", "miltersend", "{daemon_name}", "smtpd", "{daemon_addr}", "192.0.2.25",
		"_", fmt.Sprintf("%s [%s]", c.name, c.addr), "{client_name}", c.name, "{client_ptr}", c.name,
		"{client_addr}", c.addr, "{client_port}", strconv.Itoa(int(c.port)))
}

func (m macros) enterMail(from string) {
	m.enter(milter.StageMail, "i", fmt.Sprintf("%010X", rand.Uint64()>>24),
		"{mail_addr}", from, "{mail_host}", domainOf(from), "{mail_mailer}", "smtp")
}

func (m macros) enterRcpt(rcpt string) {
	m.enter(milter.StageRcpt, "{rcpt_addr}", rcpt, "{rcpt_host}", domainOf(rcpt), "{rcpt_mailer}", "smtp")
}

// domainOf is the part after the last @; empty if there is none.
func domainOf(addr string) string {
	return addr[strings.LastIndexByte(addr, '@')+1:]
}
