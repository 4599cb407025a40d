//go:build cgo

package milter

// #include "bridge.h"
import "C"

import (
	"fmt"
	"math/bits"
	"strings"
)

// Status is sfsistat: what a callback returns. The constants keep libmilter's own names, so that its documentation and
// every C filter can be searched for them.
type Status int

// The statuses, from libmilter's mfapi.h. See xxfi_connect and its neighbours in libmilter's documentation for what
// each means at each step.
const (
	// SMFIS_CONTINUE is SMFIS_CONTINUE: go on with this connection, mail or recipient.
	SMFIS_CONTINUE Status = C.SMFIS_CONTINUE
	// SMFIS_REJECT is SMFIS_REJECT: refuse the connection, mail or recipient for good (a 5xx reply).
	SMFIS_REJECT Status = C.SMFIS_REJECT
	// SMFIS_DISCARD is SMFIS_DISCARD: accept the mail and throw it away. For the callbacks of a mail.
	SMFIS_DISCARD Status = C.SMFIS_DISCARD
	// SMFIS_ACCEPT is SMFIS_ACCEPT: accept the connection or the mail without further filtering.
	SMFIS_ACCEPT Status = C.SMFIS_ACCEPT
	// SMFIS_TEMPFAIL is SMFIS_TEMPFAIL: refuse the connection, mail or recipient for now (a 4xx reply).
	SMFIS_TEMPFAIL Status = C.SMFIS_TEMPFAIL
	// SMFIS_NOREPLY is SMFIS_NOREPLY: send no reply. For steps whose SMFIP_NR_* bit was negotiated.
	SMFIS_NOREPLY Status = C.SMFIS_NOREPLY
	// SMFIS_SKIP is SMFIS_SKIP: send no more of the same step, body segments for instance. Needs SMFIP_SKIP, which is
	// asked for in Server.Protocol or by Callbacks.Negotiate: an MTA that does not expect it breaks off the session.
	SMFIS_SKIP Status = C.SMFIS_SKIP
	// SMFIS_ALL_OPTS is SMFIS_ALL_OPTS: take every action and every step that the MTA offers. For Negotiate only.
	SMFIS_ALL_OPTS Status = C.SMFIS_ALL_OPTS
)

// String gives the name in libmilter's header, "SMFIS_REJECT", or "Status(75)" where there is none.
func (s Status) String() string {
	switch s {
	case SMFIS_CONTINUE:
		return "SMFIS_CONTINUE"
	case SMFIS_REJECT:
		return "SMFIS_REJECT"
	case SMFIS_DISCARD:
		return "SMFIS_DISCARD"
	case SMFIS_ACCEPT:
		return "SMFIS_ACCEPT"
	case SMFIS_TEMPFAIL:
		return "SMFIS_TEMPFAIL"
	case SMFIS_NOREPLY:
		return "SMFIS_NOREPLY"
	case SMFIS_SKIP:
		return "SMFIS_SKIP"
	case SMFIS_ALL_OPTS:
		return "SMFIS_ALL_OPTS"
	}
	return fmt.Sprintf("Status(%d)", int(s))
}

// Action is smfiDesc's xxfi_flags: the changes that a filter may make, as a set of SMFIF_* bits.
type Action uint32

// The actions, from libmilter's mfapi.h.
const (
	// SMFIF_NONE is SMFIF_NONE: no action.
	SMFIF_NONE Action = C.SMFIF_NONE
	// SMFIF_ADDHDRS is SMFIF_ADDHDRS: AddHeader and InsertHeader.
	SMFIF_ADDHDRS Action = C.SMFIF_ADDHDRS
	// SMFIF_CHGBODY is SMFIF_CHGBODY: ReplaceBody.
	SMFIF_CHGBODY Action = C.SMFIF_CHGBODY
	// SMFIF_MODBODY is SMFIF_MODBODY, the old name of SMFIF_CHGBODY.
	SMFIF_MODBODY Action = C.SMFIF_MODBODY
	// SMFIF_ADDRCPT is SMFIF_ADDRCPT: AddRcpt.
	SMFIF_ADDRCPT Action = C.SMFIF_ADDRCPT
	// SMFIF_DELRCPT is SMFIF_DELRCPT: DelRcpt.
	SMFIF_DELRCPT Action = C.SMFIF_DELRCPT
	// SMFIF_CHGHDRS is SMFIF_CHGHDRS: ChangeHeader.
	SMFIF_CHGHDRS Action = C.SMFIF_CHGHDRS
	// SMFIF_QUARANTINE is SMFIF_QUARANTINE: Quarantine.
	SMFIF_QUARANTINE Action = C.SMFIF_QUARANTINE
	// SMFIF_CHGFROM is SMFIF_CHGFROM: ChangeFrom.
	SMFIF_CHGFROM Action = C.SMFIF_CHGFROM
	// SMFIF_ADDRCPT_PAR is SMFIF_ADDRCPT_PAR: AddRcptPar.
	SMFIF_ADDRCPT_PAR Action = C.SMFIF_ADDRCPT_PAR
	// SMFIF_SETSYMLIST is SMFIF_SETSYMLIST: SetSymList, and Server.Macros.
	SMFIF_SETSYMLIST Action = C.SMFIF_SETSYMLIST
)

var actionNames = []string{
	"SMFIF_ADDHDRS", "SMFIF_CHGBODY", "SMFIF_ADDRCPT", "SMFIF_DELRCPT", "SMFIF_CHGHDRS", "SMFIF_QUARANTINE",
	"SMFIF_CHGFROM", "SMFIF_ADDRCPT_PAR", "SMFIF_SETSYMLIST",
}

// String joins the names of the bits that are set, "SMFIF_ADDHDRS|SMFIF_CHGBODY"; bits without a name follow in hex.
func (a Action) String() string {
	if a == SMFIF_NONE {
		return "SMFIF_NONE"
	}
	return joinBits(uint32(a), actionNames)
}

// Protocol is a set of SMFIP_* bits: what the MTA can do and the filter asks for at negotiation.
type Protocol uint32

// The protocol bits, from libmilter's mfdef.h.
const (
	// SMFIP_NOCONNECT is SMFIP_NOCONNECT: do not send the connection.
	SMFIP_NOCONNECT Protocol = C.SMFIP_NOCONNECT
	// SMFIP_NOHELO is SMFIP_NOHELO: do not send HELO and EHLO.
	SMFIP_NOHELO Protocol = C.SMFIP_NOHELO
	// SMFIP_NOMAIL is SMFIP_NOMAIL: do not send MAIL FROM.
	SMFIP_NOMAIL Protocol = C.SMFIP_NOMAIL
	// SMFIP_NORCPT is SMFIP_NORCPT: do not send RCPT TO.
	SMFIP_NORCPT Protocol = C.SMFIP_NORCPT
	// SMFIP_NOBODY is SMFIP_NOBODY: do not send the body.
	SMFIP_NOBODY Protocol = C.SMFIP_NOBODY
	// SMFIP_NOHDRS is SMFIP_NOHDRS: do not send header fields.
	SMFIP_NOHDRS Protocol = C.SMFIP_NOHDRS
	// SMFIP_NOEOH is SMFIP_NOEOH: do not send the end of the header.
	SMFIP_NOEOH Protocol = C.SMFIP_NOEOH
	// SMFIP_NR_HDR is SMFIP_NR_HDR: no reply to header fields.
	SMFIP_NR_HDR Protocol = C.SMFIP_NR_HDR
	// SMFIP_NOHREPL is SMFIP_NOHREPL, the old name of SMFIP_NR_HDR.
	SMFIP_NOHREPL Protocol = C.SMFIP_NOHREPL
	// SMFIP_NOUNKNOWN is SMFIP_NOUNKNOWN: do not send unknown commands.
	SMFIP_NOUNKNOWN Protocol = C.SMFIP_NOUNKNOWN
	// SMFIP_NODATA is SMFIP_NODATA: do not send DATA.
	SMFIP_NODATA Protocol = C.SMFIP_NODATA
	// SMFIP_SKIP is SMFIP_SKIP: the MTA understands SMFIS_SKIP.
	SMFIP_SKIP Protocol = C.SMFIP_SKIP
	// SMFIP_RCPT_REJ is SMFIP_RCPT_REJ: also send the recipients that the MTA itself refused.
	SMFIP_RCPT_REJ Protocol = C.SMFIP_RCPT_REJ
	// SMFIP_NR_CONN is SMFIP_NR_CONN: no reply to the connection.
	SMFIP_NR_CONN Protocol = C.SMFIP_NR_CONN
	// SMFIP_NR_HELO is SMFIP_NR_HELO: no reply to HELO and EHLO.
	SMFIP_NR_HELO Protocol = C.SMFIP_NR_HELO
	// SMFIP_NR_MAIL is SMFIP_NR_MAIL: no reply to MAIL FROM.
	SMFIP_NR_MAIL Protocol = C.SMFIP_NR_MAIL
	// SMFIP_NR_RCPT is SMFIP_NR_RCPT: no reply to RCPT TO.
	SMFIP_NR_RCPT Protocol = C.SMFIP_NR_RCPT
	// SMFIP_NR_DATA is SMFIP_NR_DATA: no reply to DATA.
	SMFIP_NR_DATA Protocol = C.SMFIP_NR_DATA
	// SMFIP_NR_UNKN is SMFIP_NR_UNKN: no reply to unknown commands.
	SMFIP_NR_UNKN Protocol = C.SMFIP_NR_UNKN
	// SMFIP_NR_EOH is SMFIP_NR_EOH: no reply to the end of the header.
	SMFIP_NR_EOH Protocol = C.SMFIP_NR_EOH
	// SMFIP_NR_BODY is SMFIP_NR_BODY: no reply to body segments.
	SMFIP_NR_BODY Protocol = C.SMFIP_NR_BODY
	// SMFIP_HDR_LEADSPC is SMFIP_HDR_LEADSPC: header values come with their leading space, and are added as given.
	SMFIP_HDR_LEADSPC Protocol = C.SMFIP_HDR_LEADSPC
	// SMFIP_MDS_256K is SMFIP_MDS_256K: commands of up to 256 KiB. The MTA and libmilter agree on it; read only.
	SMFIP_MDS_256K Protocol = C.SMFIP_MDS_256K
	// SMFIP_MDS_1M is SMFIP_MDS_1M: commands of up to 1 MiB. The MTA and libmilter agree on it; read only.
	SMFIP_MDS_1M Protocol = C.SMFIP_MDS_1M
)

var protocolNames = []string{
	"SMFIP_NOCONNECT", "SMFIP_NOHELO", "SMFIP_NOMAIL", "SMFIP_NORCPT", "SMFIP_NOBODY", "SMFIP_NOHDRS", "SMFIP_NOEOH",
	"SMFIP_NR_HDR", "SMFIP_NOUNKNOWN", "SMFIP_NODATA", "SMFIP_SKIP", "SMFIP_RCPT_REJ", "SMFIP_NR_CONN", "SMFIP_NR_HELO",
	"SMFIP_NR_MAIL", "SMFIP_NR_RCPT", "SMFIP_NR_DATA", "SMFIP_NR_UNKN", "SMFIP_NR_EOH", "SMFIP_NR_BODY",
	"SMFIP_HDR_LEADSPC", 28: "SMFIP_MDS_256K", 29: "SMFIP_MDS_1M",
}

// String joins the names of the bits that are set, "SMFIP_NOHELO|SMFIP_SKIP"; bits without a name follow in hex.
func (p Protocol) String() string {
	if p == 0 {
		return "Protocol(0)"
	}
	return joinBits(uint32(p), protocolNames)
}

// Stage is where in the SMTP conversation the MTA is to send macros: the first argument of smfi_setsymlist.
type Stage int

// The stages, from libmilter's mfapi.h.
const (
	// SMFIM_CONNECT is SMFIM_CONNECT: with the connection.
	SMFIM_CONNECT Stage = C.SMFIM_CONNECT
	// SMFIM_HELO is SMFIM_HELO: with HELO and EHLO.
	SMFIM_HELO Stage = C.SMFIM_HELO
	// SMFIM_ENVFROM is SMFIM_ENVFROM: with MAIL FROM.
	SMFIM_ENVFROM Stage = C.SMFIM_ENVFROM
	// SMFIM_ENVRCPT is SMFIM_ENVRCPT: with each RCPT TO.
	SMFIM_ENVRCPT Stage = C.SMFIM_ENVRCPT
	// SMFIM_DATA is SMFIM_DATA: with DATA.
	SMFIM_DATA Stage = C.SMFIM_DATA
	// SMFIM_EOM is SMFIM_EOM: with the end of the message.
	SMFIM_EOM Stage = C.SMFIM_EOM
	// SMFIM_EOH is SMFIM_EOH: with the end of the header.
	SMFIM_EOH Stage = C.SMFIM_EOH
)

// String gives the name in libmilter's header, "SMFIM_CONNECT", or "Stage(9)" where there is none.
func (s Stage) String() string {
	switch s {
	case SMFIM_CONNECT:
		return "SMFIM_CONNECT"
	case SMFIM_HELO:
		return "SMFIM_HELO"
	case SMFIM_ENVFROM:
		return "SMFIM_ENVFROM"
	case SMFIM_ENVRCPT:
		return "SMFIM_ENVRCPT"
	case SMFIM_DATA:
		return "SMFIM_DATA"
	case SMFIM_EOM:
		return "SMFIM_EOM"
	case SMFIM_EOH:
		return "SMFIM_EOH"
	}
	return fmt.Sprintf("Stage(%d)", int(s))
}

// joinBits names the bits of set, lowest first; names[i] is the name of bit i. Those without a name come last, as one
// hex number.
func joinBits(set uint32, names []string) string {
	var parts []string
	var unnamed uint32
	for rest := set; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros32(rest)
		if i < len(names) && names[i] != "" {
			parts = append(parts, names[i])
		} else {
			unnamed |= 1 << i
		}
	}
	if unnamed != 0 {
		parts = append(parts, fmt.Sprintf("%#x", unnamed))
	}
	return strings.Join(parts, "|")
}
