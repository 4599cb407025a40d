package miltertest

import (
	"encoding/binary"
	"fmt"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// Op is a method of milter.Modifier, by its name.
type Op string

// The changes that a filter can make.
const (
	AddHeader    Op = "AddHeader"
	InsertHeader Op = "InsertHeader"
	ChangeHeader Op = "ChangeHeader"
	ChangeFrom   Op = "ChangeFrom"
	AddRcpt      Op = "AddRcpt"
	AddRcptPar   Op = "AddRcptPar"
	DelRcpt      Op = "DelRcpt"
	ReplaceBody  Op = "ReplaceBody"
	Quarantine   Op = "Quarantine"
)

// Change is a change of the mail that the filter has asked for, as it went over the wire.
type Change struct {
	Op Op
	// Index is InsertHeader's and ChangeHeader's.
	Index int
	// Name is the header field's.
	Name string
	// Value is the header field's value, the address, a piece of the body, or the reason of a quarantine.
	Value string
	// Args are the ESMTP arguments of ChangeFrom and AddRcptPar.
	Args string
}

// String gives the change as a call: InsertHeader(1, "X-Filtered", "yes").
func (c Change) String() string {
	switch c.Op {
	case AddHeader:
		return fmt.Sprintf("%s(%q, %q)", c.Op, c.Name, c.Value)
	case InsertHeader:
		return fmt.Sprintf("%s(%d, %q, %q)", c.Op, c.Index, c.Name, c.Value)
	case ChangeHeader:
		return fmt.Sprintf("%s(%q, %d, %q)", c.Op, c.Name, c.Index, c.Value)
	case ChangeFrom, AddRcptPar:
		return fmt.Sprintf("%s(%q, %q)", c.Op, c.Value, c.Args)
	case ReplaceBody:
		return fmt.Sprintf("%s(%d bytes)", c.Op, len(c.Value))
	}
	return fmt.Sprintf("%s(%q)", c.Op, c.Value)
}

// actionOf tells which action a change needs.
var actionOf = map[Op]milter.Action{
	AddHeader: milter.SMFIF_ADDHDRS, InsertHeader: milter.SMFIF_ADDHDRS, ChangeHeader: milter.SMFIF_CHGHDRS,
	ChangeFrom: milter.SMFIF_CHGFROM, AddRcpt: milter.SMFIF_ADDRCPT, AddRcptPar: milter.SMFIF_ADDRCPT_PAR,
	DelRcpt: milter.SMFIF_DELRCPT, ReplaceBody: milter.SMFIF_CHGBODY, Quarantine: milter.SMFIF_QUARANTINE,
}

// changeOps are the changes by the letters of their packets.
var changeOps = map[byte]Op{
	replyAddHeader: AddHeader, replyInsHeader: InsertHeader, replyChgHeader: ChangeHeader, replyChgFrom: ChangeFrom,
	replyAddRcpt: AddRcpt, replyRcptPar: AddRcptPar, replyDelRcpt: DelRcpt, replyBody: ReplaceBody, replyQuarant: Quarantine,
}

// parseChange reads a packet that asks for a change; ok is false for one that does not.
func parseChange(p Packet) (change Change, ok bool, err error) {
	c := Change{Op: changeOps[p.Code]}
	if c.Op == "" {
		return c, false, nil
	}
	data := p.Data
	if c.Op == InsertHeader || c.Op == ChangeHeader {
		if len(data) < 4 {
			return c, true, malformed(p)
		}
		c.Index = int(int32(binary.BigEndian.Uint32([]byte(data))))
		data = data[4:]
	}
	if c.Op == ReplaceBody {
		c.Value = data
		return c, true, nil
	}
	text, ended := strings.CutSuffix(data, "\x00")
	list := strings.Split(text, "\x00")
	if !ended {
		return c, true, malformed(p)
	}
	switch {
	case len(list) == 1 && (c.Op == AddRcpt || c.Op == DelRcpt || c.Op == Quarantine || c.Op == ChangeFrom || c.Op == AddRcptPar):
		c.Value = list[0]
	case len(list) == 2 && (c.Op == ChangeFrom || c.Op == AddRcptPar):
		c.Value, c.Args = list[0], list[1]
	case len(list) == 2 && (c.Op == AddHeader || c.Op == InsertHeader || c.Op == ChangeHeader):
		c.Name, c.Value = list[0], list[1]
	default:
		return c, true, malformed(p)
	}
	return c, true, nil
}

func malformed(p Packet) error { return fmt.Errorf("the filter sent a malformed packet: %v", p) }
