package miltertest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// Macros are values of macros, by stage and name. Names are written "i" or "{client_addr}".
type Macros map[milter.Stage]map[string]string

// EveryStage stands for all stages in Macros.
const EveryStage milter.Stage = -1

// postfixMacros are the macros of Postfix's milter_*_macros, as they are by default.
func postfixMacros() map[milter.Stage][]string {
	return map[milter.Stage][]string{
		milter.SMFIM_CONNECT: {"j", "{daemon_name}", "{daemon_addr}", "v", "_"},
		milter.SMFIM_HELO:    {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"},
		milter.SMFIM_ENVFROM: {"i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}"},
		milter.SMFIM_ENVRCPT: {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"},
		milter.SMFIM_DATA:    {"i"},
		milter.SMFIM_EOH:     {"i"},
		milter.SMFIM_EOM:     {"i"},
	}
}

// sendmailMacros are the macros of Sendmail's Milter.macros options, as m4 writes them by default.
func sendmailMacros() map[milter.Stage][]string {
	return map[milter.Stage][]string{
		milter.SMFIM_CONNECT: {"j", "_", "{daemon_name}", "{if_name}", "{if_addr}"},
		milter.SMFIM_HELO:    {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"},
		milter.SMFIM_ENVFROM: {"i", "{auth_type}", "{auth_authen}", "{auth_ssf}", "{auth_author}", "{mail_mailer}", "{mail_host}", "{mail_addr}"},
		milter.SMFIM_ENVRCPT: {"{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"},
		milter.SMFIM_EOM:     {"{msg_id}"},
	}
}

// macros are the values that a connection's MTA knows so far, and which of them it sends when.
type macros struct {
	lists  map[milter.Stage][]string
	set    Macros
	values map[string]string
}

func newMacros(mta MTA) *macros {
	m := &macros{lists: map[milter.Stage][]string{}, set: Macros{}, values: map[string]string{}}
	for stage, names := range mta.MacroLists {
		m.lists[stage] = slices.Clone(names)
	}
	for stage, values := range mta.Macros {
		for name, value := range values {
			m.setValue(stage, name, value)
		}
	}
	return m
}

// setValue sets a macro for when its stage is reached, and sees to it that it is sent.
func (m *macros) setValue(stage milter.Stage, name, value string) {
	if m.set[stage] == nil {
		m.set[stage] = map[string]string{}
	}
	m.set[stage][name] = value
	if stage == EveryStage {
		if m.listed(name) {
			return
		}
		stage = milter.SMFIM_CONNECT // libmilter finds these at every stage
	}
	if !slices.Contains(m.lists[stage], name) {
		m.lists[stage] = append(m.lists[stage], name)
	}
}

func (m *macros) listed(name string) bool {
	for _, names := range m.lists {
		if slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// ask takes the lists that a filter has asked for in its negotiation, behind the 12 bytes that every one has.
func (m *macros) ask(lists string) error {
	for len(lists) > 4 {
		names, rest, ended := strings.Cut(lists[4:], "\x00")
		stage := milter.Stage(lists[3])
		if !ended || lists[:3] != "\x00\x00\x00" || stage > milter.SMFIM_EOH {
			break
		}
		m.lists[stage] = strings.FieldsFunc(names, func(r rune) bool { return r == ' ' || r == ',' })
		lists = rest
	}
	if lists != "" {
		return fmt.Errorf("the filter asks for macros in a form that is no list: %q", lists)
	}
	return nil
}

// enter gives the data of a stage's macro packet, without its first letter: names and values. It tells whether there is such
// a packet: MTAs send an empty one too, where they know none of the macros. known is what the MTA knows from this stage on.
func (m *macros) enter(stage milter.Stage, known map[string]string) (data string, any bool) {
	maps.Copy(m.values, known)
	maps.Copy(m.values, m.set[EveryStage])
	maps.Copy(m.values, m.set[stage])
	var b strings.Builder
	for _, name := range m.lists[stage] {
		if value, ok := m.values[name]; ok {
			b.WriteString(z(name, value))
		}
	}
	return b.String(), len(m.lists[stage]) > 0
}

// forget drops what is of one mail.
func (m *macros) forget(names ...string) {
	for _, name := range names {
		delete(m.values, name)
	}
}

const mtaName = "mx.example.org"

// connectMacros are what an MTA knows of a client.
func connectMacros(kind Kind, name string, addr net.Addr) map[string]string {
	ip, port := "unknown", ""
	switch addr := addr.(type) {
	case *net.TCPAddr:
		ip, port = addr.IP.String(), strconv.Itoa(addr.Port)
	case *net.UnixAddr:
		ip = addr.Name
	}
	known := map[string]string{
		"j": mtaName, "_": fmt.Sprintf("%s [%s]", name, ip), "{daemon_name}": "MTA",
		"{if_name}": mtaName, "{if_addr}": "192.0.2.25", "{daemon_addr}": "192.0.2.25", "{daemon_port}": "25",
		"{client_name}": name, "{client_ptr}": name, "{client_addr}": ip, "{client_port}": port,
	}
	if kind == KindPostfix {
		known["v"] = "Postfix 3.7.11"
		known["{daemon_name}"] = mtaName
	}
	return known
}

// queueID gives a new mail's queue id.
func queueID() string { return fmt.Sprintf("%010X", rand.Uint64()>>24) }

// address gives the address of a path, without brackets and ESMTP arguments.
func address(path string) string {
	addr, _ := splitPath(path)
	return strings.TrimSuffix(strings.TrimPrefix(addr, "<"), ">")
}

// domain gives the part of an address behind the last @; "" if there is none.
func domain(addr string) string {
	_, domain, _ := strings.Cut(addr[max(0, strings.LastIndexByte(addr, '@')):], "@")
	return domain
}
