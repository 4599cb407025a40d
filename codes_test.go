//go:build cgo

package milter_test

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// codes are all that this package has, by their names in C.
var codes = map[string]int64{
	"SMFIS_CONTINUE": int64(milter.SMFIS_CONTINUE), "SMFIS_REJECT": int64(milter.SMFIS_REJECT), "SMFIS_DISCARD": int64(milter.SMFIS_DISCARD),
	"SMFIS_ACCEPT": int64(milter.SMFIS_ACCEPT), "SMFIS_TEMPFAIL": int64(milter.SMFIS_TEMPFAIL), "SMFIS_NOREPLY": int64(milter.SMFIS_NOREPLY),
	"SMFIS_SKIP": int64(milter.SMFIS_SKIP), "SMFIS_ALL_OPTS": int64(milter.SMFIS_ALL_OPTS),

	"SMFIF_NONE": int64(milter.SMFIF_NONE), "SMFIF_ADDHDRS": int64(milter.SMFIF_ADDHDRS), "SMFIF_CHGBODY": int64(milter.SMFIF_CHGBODY),
	"SMFIF_MODBODY": int64(milter.SMFIF_MODBODY), "SMFIF_ADDRCPT": int64(milter.SMFIF_ADDRCPT), "SMFIF_DELRCPT": int64(milter.SMFIF_DELRCPT),
	"SMFIF_CHGHDRS": int64(milter.SMFIF_CHGHDRS), "SMFIF_QUARANTINE": int64(milter.SMFIF_QUARANTINE), "SMFIF_CHGFROM": int64(milter.SMFIF_CHGFROM),
	"SMFIF_ADDRCPT_PAR": int64(milter.SMFIF_ADDRCPT_PAR), "SMFIF_SETSYMLIST": int64(milter.SMFIF_SETSYMLIST),

	"SMFIP_NOCONNECT": int64(milter.SMFIP_NOCONNECT), "SMFIP_NOHELO": int64(milter.SMFIP_NOHELO), "SMFIP_NOMAIL": int64(milter.SMFIP_NOMAIL),
	"SMFIP_NORCPT": int64(milter.SMFIP_NORCPT), "SMFIP_NOBODY": int64(milter.SMFIP_NOBODY), "SMFIP_NOHDRS": int64(milter.SMFIP_NOHDRS),
	"SMFIP_NOEOH": int64(milter.SMFIP_NOEOH), "SMFIP_NR_HDR": int64(milter.SMFIP_NR_HDR), "SMFIP_NOHREPL": int64(milter.SMFIP_NOHREPL),
	"SMFIP_NOUNKNOWN": int64(milter.SMFIP_NOUNKNOWN), "SMFIP_NODATA": int64(milter.SMFIP_NODATA), "SMFIP_SKIP": int64(milter.SMFIP_SKIP),
	"SMFIP_RCPT_REJ": int64(milter.SMFIP_RCPT_REJ), "SMFIP_NR_CONN": int64(milter.SMFIP_NR_CONN), "SMFIP_NR_HELO": int64(milter.SMFIP_NR_HELO),
	"SMFIP_NR_MAIL": int64(milter.SMFIP_NR_MAIL), "SMFIP_NR_RCPT": int64(milter.SMFIP_NR_RCPT), "SMFIP_NR_DATA": int64(milter.SMFIP_NR_DATA),
	"SMFIP_NR_UNKN": int64(milter.SMFIP_NR_UNKN), "SMFIP_NR_EOH": int64(milter.SMFIP_NR_EOH), "SMFIP_NR_BODY": int64(milter.SMFIP_NR_BODY),
	"SMFIP_HDR_LEADSPC": int64(milter.SMFIP_HDR_LEADSPC), "SMFIP_MDS_256K": int64(milter.SMFIP_MDS_256K), "SMFIP_MDS_1M": int64(milter.SMFIP_MDS_1M),

	"SMFIM_CONNECT": int64(milter.SMFIM_CONNECT), "SMFIM_HELO": int64(milter.SMFIM_HELO), "SMFIM_ENVFROM": int64(milter.SMFIM_ENVFROM),
	"SMFIM_ENVRCPT": int64(milter.SMFIM_ENVRCPT), "SMFIM_DATA": int64(milter.SMFIM_DATA), "SMFIM_EOM": int64(milter.SMFIM_EOM),
	"SMFIM_EOH": int64(milter.SMFIM_EOH),
}

// The headers' codes are this package's, each with its value, but for those marked "Do NOT use".
func TestCodesAreTheHeaders(t *testing.T) {
	t.Parallel()
	cpp := exec.Command("gcc", "-E", "-dM", "-include", "libmilter/mfapi.h", "-")
	out, err := cpp.Output()
	require.NoError(t, err)
	defines := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#define (SMFI[SFPM]_\w+)\s+(.*)$`).FindAllStringSubmatch(string(out), -1) {
		defines[m[1]] = strings.Trim(m[2], "()L")
	}
	for _, internal := range []string{"SMFIM_NOMACROS", "SMFIM_FIRST", "SMFIM_LAST"} {
		require.Contains(t, defines, internal)
		delete(defines, internal)
	}
	assert.Len(t, codes, len(defines))
	for name, value := range defines {
		if other, isAlias := defines[value]; isAlias {
			value = other
		}
		number, err := strconv.ParseInt(value, 0, 64)
		require.NoError(t, err, name)
		if assert.Contains(t, codes, name) {
			assert.Equal(t, number, codes[name], name)
		}
	}
}

func TestCodesAsText(t *testing.T) {
	t.Parallel()
	alias := map[string]string{"SMFIF_MODBODY": "SMFIF_CHGBODY", "SMFIP_NOHREPL": "SMFIP_NR_HDR"}
	for name, value := range codes {
		want := name
		if alias[name] != "" {
			want = alias[name]
		}
		switch name[:6] {
		case "SMFIS_":
			assert.Equal(t, want, milter.Status(value).String())
		case "SMFIF_":
			assert.Equal(t, want, milter.Action(value).String())
		case "SMFIP_":
			assert.Equal(t, want, milter.Protocol(value).String())
		case "SMFIM_":
			assert.Equal(t, want, milter.Stage(value).String())
		}
	}
	assert.Equal(t, "Status(75)", milter.Status(75).String())
	assert.Equal(t, "Status(-1)", milter.Status(-1).String())
	assert.Equal(t, "Stage(9)", milter.Stage(9).String())
	assert.Equal(t, "SMFIF_ADDHDRS|SMFIF_CHGBODY", (milter.SMFIF_ADDHDRS | milter.SMFIF_CHGBODY).String())
	assert.Equal(t, "SMFIF_SETSYMLIST|0x80000600", milter.Action(0x80000700).String())
	assert.Equal(t, "Protocol(0)", milter.Protocol(0).String())
	assert.Equal(t, "SMFIP_NOHELO|SMFIP_SKIP|SMFIP_MDS_1M", (milter.SMFIP_SKIP | milter.SMFIP_NOHELO | milter.SMFIP_MDS_1M).String())
	assert.Equal(t, "0xc0200000", milter.Protocol(0xc0200000).String())
}

func TestVersion(t *testing.T) {
	t.Parallel()
	major, minor, patch := milter.Version()
	assert.Equal(t, uint(1), major, "%d.%d.%d", major, minor, patch)
}
