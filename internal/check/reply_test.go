package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFitReply(t *testing.T) {
	lines := func(n int, text string) (list []string) {
		for range n {
			list = append(list, text)
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		code  int
		xcode string
		lines []string
		want  Reply
		notes []string
	}{
		{"plain", 550, "5.7.1", []string{"No."}, Reply{"550", "5.7.1", []string{"No."}}, nil},
		{"percent", 450, "4.7.1", []string{"50%", "%%"}, Reply{"450", "4.7.1", []string{"50%%", "%%%%"}}, nil},
		{"no text", 550, "5.7.1", nil, Reply{"550", "5.7.1", []string{""}}, nil},
		{"empty lines", 550, "", []string{"", "a", ""}, Reply{"550", "", []string{"", "a", ""}}, nil},
		{"code of 2xx", 250, "2.0.0", []string{"Yes."}, Reply{"451", "", []string{""}},
			[]string{"code 250 is not one of 400 to 599: 451 goes in its place, without a text"}},
		{"code 600", 600, "", nil, Reply{"451", "", []string{""}}, []string{"code 600 is not one of 400 to 599: 451 goes in its place, without a text"}},
		{"other class", 550, "4.7.1", []string{"No."}, Reply{"550", "", []string{"No."}},
			[]string{`enhanced code "4.7.1", which is not 5.x.x, is left out: Postfix takes such a reply for malformed`}},
		{"class of success", 450, "2.7.1", []string{"No."}, Reply{"450", "", []string{"No."}},
			[]string{`enhanced code "2.7.1", which is not 4.x.x, is left out: Postfix takes such a reply for malformed`}},
		{"malformed enhanced code", 550, "5.7", []string{"No."}, Reply{"550", "", []string{"No."}},
			[]string{`enhanced code "5.7", which is not 5.x.x, is left out: Postfix takes such a reply for malformed`}},
		{"digit first", 550, "", []string{"4 apples"}, Reply{"550", "5.0.0", []string{"4 apples"}},
			[]string{"enhanced code 5.0.0 stands before a text that begins with a digit"}},
		{"digit first, with a code", 550, "5.7.1", []string{"4 apples"}, Reply{"550", "5.7.1", []string{"4 apples"}}, nil},
		{"enhanced code in the text", 450, "", []string{"5.7.1 No."}, Reply{"450", "4.0.0", []string{"5.7.1 No."}},
			[]string{"enhanced code 4.0.0 stands before a text that begins with a digit"}},
		{"8-bit and controls", 550, "5.7.1", []string{"caf\u00e9\r\n", "\x00\x7f ~"}, Reply{"550", "5.7.1", []string{"caf????", "?? ~"}},
			[]string{"6 bytes that are not printable ASCII are question marks: Sendmail clears their eighth bit or ends the text there"}},
		{"just not too long", 550, "5.7.1", []string{strings.Repeat("x", 289)}, Reply{"550", "5.7.1", []string{strings.Repeat("x", 289)}}, nil},
		{"too long", 550, "5.7.1", []string{strings.Repeat("x", 290)}, Reply{"550", "5.7.1", []string{strings.Repeat("x", 289), "x"}},
			[]string{"1 lines of more than 289 bytes are broken: a reply's line has 512 bytes"}},
		{"too long, with blanks", 550, "5.7.1", []string{strings.Repeat("word ", 100)},
			Reply{"550", "5.7.1", []string{strings.TrimSpace(strings.Repeat("word ", 58)), strings.Repeat("word ", 42)}},
			[]string{"1 lines of more than 289 bytes are broken: a reply's line has 512 bytes"}},
		{"too many", 550, "5.7.1", lines(40, "No."), Reply{"550", "5.7.1", lines(32, "No.")}, []string{"8 lines are left out: a reply has at most 32"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := append([]string(nil), tt.lines...)
			fit, notes := FitReply(tt.code, tt.xcode, tt.lines)
			assert.Equal(t, tt.want, fit)
			assert.Equal(t, tt.notes, notes)
			assert.Equal(t, given, append([]string(nil), tt.lines...), "the caller's lines")
		})
	}
}

// Whatever it is given, libmilter takes what comes out, and both MTAs read the code that was meant.
func FuzzFitReply(f *testing.F) {
	f.Add(550, "5.7.1", "No.")
	f.Add(450, "5.7.1", "4.7.1 %s\n\x8d\x8a250 2.0.0 Ok")
	f.Add(421, "", "100%\n\n"+strings.Repeat("5 word\n", 40))
	f.Add(599, "2.0.0", strings.Repeat("% \xc3\xa9", 1000))
	f.Add(0, "", "")
	f.Fuzz(func(t *testing.T, code int, xcode, text string) {
		fit, notes := FitReply(code, xcode, strings.Split(text, "\n"))
		if code >= 400 && code <= 599 {
			require.Equal(t, fmt.Sprint(code), fit.Code)
		} else {
			require.Equal(t, "451", fit.Code)
			require.NotEmpty(t, notes)
		}
		require.True(t, fit.XCode == "" || EnhancedCode(fit.XCode) && fit.XCode[0] == fit.Code[0], fit.XCode)
		require.GreaterOrEqual(t, len(fit.Lines), 1)
		require.LessOrEqual(t, len(fit.Lines), MaxReplyLines)
		onWire := onWire(fit)
		require.Less(t, len(onWire)+maxShortened+len("... "), 16384, "Sendmail's buffer")
		fifth := (onWire + "\x00")[4]
		require.False(t, fifth >= '0' && fifth <= '9' && fifth != onWire[0], "malformed to Postfix: %q", onWire)
		for line := range strings.SplitSeq(onWire, "\r\n") {
			require.Equal(t, fit.Code, line[:3])
			told := strings.ReplaceAll(line, "%%", "")
			require.NotContains(t, told, "%", "a single percent sign")
			require.LessOrEqual(t, len(strings.ReplaceAll(line, "%%", "%"))+len("\r\n")+maxShortened+len("... "), 512)
			require.Equal(t, -1, strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }), "%q", line)
		}
	})
}

// onWire writes a reply as smfi_setreply and smfi_setmlreply do.
func onWire(r Reply) string {
	if len(r.Lines) > 1 && r.XCode == "" {
		r.XCode = r.Code[:1] + ".0.0"
	}
	var lines []string
	for i, line := range r.Lines {
		mark := "-"
		if i == len(r.Lines)-1 {
			mark = " "
		}
		if r.XCode != "" {
			line = r.XCode + " " + line
		}
		lines = append(lines, r.Code+mark+line)
	}
	return strings.Join(lines, "\r\n")
}

func TestEnhancedCode(t *testing.T) {
	for code, want := range map[string]bool{
		"5.7.1": true, "4.123.999": true, "2.0.0": true, "3.7.1": false, "5.7": false, "5.7.1.1": false, "5.7.1000": false, "5..1": false, "5.a.1": false, "": false, "55.7.1": false,
	} {
		assert.Equal(t, want, EnhancedCode(code), code)
	}
}
