package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const start = "==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1 at pc 0x2 bp 0x3 sp 0x4\nREAD of size 1 at 0x1 thread T3\n"

func TestParseFindings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text, where string
		owner       owner
	}{
		"libmilter": {start + "    #0 0x1 in smfi_getsymval /tmp/x/sendmail-8.17.1.9/libmilter/smfi.c:701\n    #1 0x2 in f /x/bridge.c:1\n\n",
			"smfi_getsymval (smfi.c)", ownerLibmilter},
		"through the system": {start + "    #0 0x1 in __interceptor_strcmp ../../../../src/libsanitizer/x.inc:446\n    #1 0x2 in mi_engine /s/libmilter/engine.c:7:3\n\n",
			"mi_engine (engine.c)", ownerLibmilter},
		"the shim": {start + "    #0 0x1 in on_unknown /home/go-libmilter/bridge.c:41\n    #1 0x2 in mi_engine /s/libmilter/engine.c:7\n\n",
			"on_unknown (bridge.c)", ownerBinding},
		"cgo":          {start + "    #0 0x1 in _cgo_3f_Cfunc_smfi_setreply /tmp/go-build/cgo-gcc-prolog:90\n\n", "_cgo_3f_Cfunc_smfi_setreply (cgo-gcc-prolog)", ownerBinding},
		"the C filter": {start + "    #0 0x1 in mix_text /m/test/conformance/cfilter/history.c:60\n\n", "mix_text (history.c)", ownerCFilter},
		"only system":  {start + "    #0 0x1 in strlen (/lib/libc.so.6+0x1)\n\n    #0 0x1 in mi_engine /s/libmilter/engine.c:7\n", "nothing but the system", ownerBinding},
		"no stack":     {start, "no stack", ownerBinding},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findings := parseFindings(tc.text + tc.text)
			require.Len(t, findings, 2)
			for _, f := range findings {
				assert.Equal(t, finding{kind: "heap-buffer-overflow", where: tc.where, owner: tc.owner, text: tc.text}, f)
			}
		})
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		owner     owner
		inC, inGo int
		hostile   bool
		want      bool
	}{
		"libmilter, both":               {ownerLibmilter, 1, 7, false, false},
		"libmilter, by the C filter":    {ownerLibmilter, 1, 0, false, false},
		"libmilter, by the Go filter":   {ownerLibmilter, 0, 1, false, true},
		"libmilter, hostile session":    {ownerLibmilter, 0, 1, true, false},
		"the binding":                   {ownerBinding, 0, 1, true, true},
		"the C filter, hostile session": {ownerCFilter, 1, 0, true, false},
		"the C filter":                  {ownerCFilter, 1, 0, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, tally{finding: finding{owner: tc.owner}, inC: tc.inC, inGo: tc.inGo}.fault(tc.hostile))
		})
	}
}
