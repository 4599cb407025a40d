package miltertest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/libmilter/go-libmilter/miltertest"
)

func TestPacketString(t *testing.T) {
	t.Parallel()
	sent := func(code byte, data string) miltertest.Packet {
		return miltertest.Packet{Sent: true, Code: code, Data: data}
	}
	got := func(code byte, data string) miltertest.Packet { return miltertest.Packet{Code: code, Data: data} }
	for want, p := range map[string]miltertest.Packet{
		"> SMFIC_ABORT":                        sent('A', ""),
		"> SMFIC_QUIT":                         sent('Q', ""),
		"> SMFIC_QUIT_NC":                      sent('K', ""),
		`> SMFIC_BODY 4 bytes "\x00\r\n\xff"`:  sent('B', "\x00\r\n\xff"),
		`> SMFIC_BODYEOB 1 bytes "x"`:          sent('E', "x"),
		`> SMFIC_CONNECT "a" '4' 25 "1.2.3.4"`: sent('C', "a\x004\x00\x191.2.3.4\x00"),
		`> SMFIC_CONNECT "a" 'U'`:              sent('C', "a\x00U"),
		`> SMFIC_CONNECT "a"`:                  sent('C', "a"),
		`> SMFIC_CONNECT "a" '4' "\x00"`:       sent('C', "a\x004\x00"),
		`> SMFIC_MACRO 'M' "i" "1" "{x}" ""`:   sent('D', "Mi\x001\x00{x}\x00\x00"),
		`> SMFIC_MACRO 'M'`:                    sent('D', "M"),
		`> SMFIC_HEADER "A" "b"(no NUL)`:       sent('L', "A\x00b"),
		`> SMFIC_HELO "\xe4"`:                  sent('H', "\xe4\x00"),
		`> 'Z' "what\x00"`:                     sent('Z', "what\x00"),
		"> 'Z'":                                sent('Z', ""),
		"> SMFIC_OPTNEG version 6, actions SMFIF_ADDHDRS|SMFIF_CHGBODY, protocol SMFIP_SKIP":                                         sent('O', "\x00\x00\x00\x06\x00\x00\x00\x03\x00\x00\x04\x00"),
		`< SMFIC_OPTNEG version 2, actions SMFIF_NONE, protocol SMFIP_NOCONNECT, macros of SMFIM_HELO "i j", macros of SMFIM_EOM ""`: got('O', "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01i j\x00\x00\x00\x00\x05\x00"),
		`> SMFIC_OPTNEG "\x00\x00"`:                sent('O', "\x00\x00"),
		"< SMFIR_CONTINUE":                         got('c', ""),
		"< SMFIR_PROGRESS":                         got('p', ""),
		`< SMFIR_REPLYCODE "550 5.7.1 no"`:         got('y', "550 5.7.1 no\x00"),
		`< SMFIR_ADDHEADER "A" "b"`:                got('h', "A\x00b\x00"),
		`< SMFIR_INSHEADER 1 "A" ""`:               got('i', "\x00\x00\x00\x01A\x00\x00"),
		`< SMFIR_CHGHEADER 2 "A" "b"`:              got('m', "\x00\x00\x00\x02A\x00b\x00"),
		`< SMFIR_REPLBODY 2 bytes "ab"`:            got('b', "ab"),
		`< SMFIR_ADDRCPT_PAR "<a>" "NOTIFY=NEVER"`: got('2', "<a>\x00NOTIFY=NEVER\x00"),
		"< 'B'": got('B', ""),
	} {
		assert.Equal(t, want, p.String())
	}
	long := sent('B', strings.Repeat("x", 1000)).String()
	assert.Equal(t, `> SMFIC_BODY 1000 bytes "`+strings.Repeat("x", 200)+`"…(1000 bytes, CRC 3b41c9e6)`, long)
	assert.Equal(t, "> SMFIC_QUIT\n< SMFIR_CONTINUE\n", miltertest.Transcript{sent('Q', ""), got('c', "")}.String())
}
