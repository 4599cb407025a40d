package miltertest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// Packet is what goes over the milter protocol's wire: a command of the MTA's or a reply of the filter's, with its data.
type Packet struct {
	// Sent tells that the MTA sent it; otherwise the filter did.
	Sent bool
	// Code is the command's or reply's letter, as in libmilter's mfdef.h: 'C' for SMFIC_CONNECT, 'c' for SMFIR_CONTINUE.
	Code byte
	// Data is all that follows the letter.
	Data string
}

// Transcript is a connection's packets, in the order in which the MTA wrote and read them.
type Transcript []Packet

// String gives a line for each packet.
func (t Transcript) String() string {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// String gives the packet in libmilter's names, with its fields: > SMFIC_HELO "client.example.org".
func (p Packet) String() string {
	arrow := "<"
	if p.Sent {
		arrow = ">"
	}
	name, known := p.Name()
	if !known {
		name = fmt.Sprintf("%q", p.Code)
	}
	return strings.TrimRight(arrow+" "+name+" "+p.fields(known), " ")
}

// Name gives the name of the packet's letter in libmilter's mfdef.h, "SMFIC_HELO", and whether it has one.
func (p Packet) Name() (name string, known bool) {
	names := replyNames
	if p.Sent {
		names = commandNames
	}
	name, known = names[p.Code]
	return name, known
}

// The letters of the milter protocol: SMFIC_* and SMFIR_* in libmilter's mfdef.h.
const (
	cmdAbort       = 'A'
	cmdBody        = 'B'
	cmdConnect     = 'C'
	cmdMacro       = 'D'
	cmdEndOfBody   = 'E'
	cmdHelo        = 'H'
	cmdQuitNC      = 'K'
	cmdHeader      = 'L'
	cmdMail        = 'M'
	cmdEOH         = 'N'
	cmdNegotiate   = 'O'
	cmdQuit        = 'Q'
	cmdRcpt        = 'R'
	cmdData        = 'T'
	cmdUnknown     = 'U'
	replyAddRcpt   = '+'
	replyDelRcpt   = '-'
	replyRcptPar   = '2'
	replyAccept    = 'a'
	replyBody      = 'b'
	replyContinue  = 'c'
	replyDiscard   = 'd'
	replyChgFrom   = 'e'
	replyAddHeader = 'h'
	replyInsHeader = 'i'
	replyChgHeader = 'm'
	replyProgress  = 'p'
	replyQuarant   = 'q'
	replyReject    = 'r'
	replySkip      = 's'
	replyTempfail  = 't'
	replyCode      = 'y'
)

var commandNames = map[byte]string{
	cmdAbort: "SMFIC_ABORT", cmdBody: "SMFIC_BODY", cmdConnect: "SMFIC_CONNECT", cmdMacro: "SMFIC_MACRO",
	cmdEndOfBody: "SMFIC_BODYEOB", cmdHelo: "SMFIC_HELO", cmdQuitNC: "SMFIC_QUIT_NC", cmdHeader: "SMFIC_HEADER",
	cmdMail: "SMFIC_MAIL", cmdEOH: "SMFIC_EOH", cmdNegotiate: "SMFIC_OPTNEG", cmdQuit: "SMFIC_QUIT",
	cmdRcpt: "SMFIC_RCPT", cmdData: "SMFIC_DATA", cmdUnknown: "SMFIC_UNKNOWN",
}

var replyNames = map[byte]string{
	replyAddRcpt: "SMFIR_ADDRCPT", replyDelRcpt: "SMFIR_DELRCPT", replyRcptPar: "SMFIR_ADDRCPT_PAR", '4': "SMFIR_SHUTDOWN",
	replyAccept: "SMFIR_ACCEPT", replyBody: "SMFIR_REPLBODY", replyContinue: "SMFIR_CONTINUE", replyDiscard: "SMFIR_DISCARD",
	replyChgFrom: "SMFIR_CHGFROM", 'f': "SMFIR_CONN_FAIL", replyAddHeader: "SMFIR_ADDHEADER", replyInsHeader: "SMFIR_INSHEADER",
	'l': "SMFIR_SETSYMLIST", replyChgHeader: "SMFIR_CHGHEADER", replyProgress: "SMFIR_PROGRESS",
	replyQuarant: "SMFIR_QUARANTINE", replyReject: "SMFIR_REJECT", replySkip: "SMFIR_SKIP", replyTempfail: "SMFIR_TEMPFAIL",
	replyCode: "SMFIR_REPLYCODE", cmdNegotiate: "SMFIC_OPTNEG",
}

// fields gives the data in parts, as far as the packet is what its letter says.
func (p Packet) fields(known bool) string {
	switch {
	case !known || p.Data == "":
		return quoted(p.Data)
	case p.Code == cmdNegotiate:
		return negotiationFields(p.Data)
	case p.Code == replyBody || p.Sent && (p.Code == cmdBody || p.Code == cmdEndOfBody):
		return fmt.Sprintf("%d bytes %s", len(p.Data), quoted(p.Data))
	case p.Sent && p.Code == cmdMacro:
		return fmt.Sprintf("%q %s", p.Data[0], texts(p.Data[1:]))
	case p.Sent && p.Code == cmdConnect:
		return connectFields(p.Data)
	case !p.Sent && (p.Code == replyInsHeader || p.Code == replyChgHeader) && len(p.Data) >= 4:
		return fmt.Sprintf("%d %s", int32(binary.BigEndian.Uint32([]byte(p.Data))), texts(p.Data[4:]))
	}
	return texts(p.Data)
}

func negotiationFields(data string) string {
	if len(data) < 12 {
		return quoted(data)
	}
	n := parseNegotiation(data)
	text := fmt.Sprintf("version %d, actions %v, protocol %v", n.version, milter.Action(n.actions), milter.Protocol(n.protocol))
	for rest := data[12:]; rest != ""; {
		if len(rest) < 5 {
			return text + ", " + quoted(rest)
		}
		list, after, _ := strings.Cut(rest[4:], "\x00")
		text += fmt.Sprintf(", macros of %v %q", milter.Stage(binary.BigEndian.Uint32([]byte(rest))), list)
		rest = after
	}
	return text
}

func connectFields(data string) string {
	host, rest, ok := strings.Cut(data, "\x00")
	if !ok || rest == "" {
		return quoted(data)
	}
	text := fmt.Sprintf("%q %q", host, rest[0])
	if rest = rest[1:]; len(rest) < 2 {
		return text + " " + quoted(rest)
	}
	return fmt.Sprintf("%s %d %s", text, binary.BigEndian.Uint16([]byte(rest)), texts(rest[2:]))
}

// texts gives texts that each end with a NUL; a last one without it is marked.
func texts(data string) string {
	var list []string
	for data != "" {
		text, rest, ended := strings.Cut(data, "\x00")
		item := quoted(text)
		if item == "" {
			item = `""`
		}
		if !ended {
			item += "(no NUL)"
		}
		list = append(list, item)
		data = rest
	}
	return strings.Join(list, " ")
}

// longest is how much of a text a transcript shows.
const longest = 200

// quoted escapes what is not plain text. A long text is cut, and its checksum tells it from others.
func quoted(text string) string {
	switch {
	case text == "":
		return ""
	case len(text) > longest:
		return fmt.Sprintf("%s…(%d bytes, CRC %08x)", strconv.Quote(text[:longest]), len(text), crc32.ChecksumIEEE([]byte(text)))
	}
	return strconv.Quote(text)
}

// negotiation is what a negotiation packet says.
type negotiation struct {
	version           int
	actions, protocol uint32
}

func parseNegotiation(data string) negotiation {
	number := func(i int) uint32 { return binary.BigEndian.Uint32([]byte(data[i : i+4])) }
	return negotiation{int(number(0)), number(4), number(8)}
}

func (n negotiation) data() string {
	b := binary.BigEndian.AppendUint32(nil, uint32(n.version))
	b = binary.BigEndian.AppendUint32(b, n.actions)
	return string(binary.BigEndian.AppendUint32(b, n.protocol))
}

// frame gives a packet's bytes on the wire.
func frame(code byte, data string) []byte {
	b := make([]byte, 0, len(data)+5)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)+1))
	return append(append(b, code), data...)
}

// z joins texts with a NUL behind each.
func z(texts ...string) string {
	return strings.Join(texts, "\x00") + "\x00"
}
