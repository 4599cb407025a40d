//go:build cgo

package mta

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// document is the file that is made from what was seen.
const document = "../../docs/mta-matrix.md"

// observed is what was seen of an MTA.
type observed struct {
	name    string
	version string
	lines   map[string][]string        // by feature
	macros  map[byte]map[string]string // that it sends by itself, by the letter of the stage
}

func newObserved(name string) *observed {
	return &observed{name: name, lines: map[string][]string{}, macros: map[byte]map[string]string{}}
}

// add adds the macros of a session, one of which is the MTA's version.
func (o *observed) add(w *tap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for stage, macros := range w.macros {
		if o.macros[stage] == nil {
			o.macros[stage] = map[string]string{}
		}
		maps.Copy(o.macros[stage], macros)
	}
}

// checkDocument compares the document with what was seen, or writes it.
func checkDocument(t *testing.T, seen []*observed) {
	old, err := os.ReadFile(document)
	if !*update {
		require.NoError(t, err)
	}
	rows := oldRows(string(old))
	for _, f := range features {
		for _, o := range seen {
			if _, ok := o.lines[f.name]; ok || f.ipv6 && !hasIPv6() && rows[f.name] != "" {
				continue
			}
			require.False(t, *update, "%s was not seen with %s: run all tests", f.name, o.name)
			t.Skipf("%s was not seen with %s", f.name, o.name)
		}
	}
	text := render(seen, rows)
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(text), 0o644))
		return
	}
	compareLines(t, strings.Split(string(old), "\n"), strings.Split(text, "\n"))
}

// mtaVersions are what the document says of the MTAs' versions.
var mtaVersions = regexp.MustCompile(`\b(Postfix|Sendmail) [0-9][0-9.]*[0-9]`)

// compareLines shows the lines that differ: the whole document would be too much.
func compareLines(t *testing.T, old, seen []string) {
	for i := range max(len(old), len(seen)) {
		var lines [2]string
		for j, text := range [][]string{old, seen} {
			if i < len(text) {
				lines[j] = mtaVersions.ReplaceAllString(text[i], "") // a later one may do the same
			}
		}
		assert.Equal(t, lines[0], lines[1], "line %d of the document is not what was seen; go test ./test/mta -update writes it anew", i+1)
	}
}

// oldRows are the document's rows, by feature: one that this machine cannot run stays as it is.
func oldRows(text string) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, " | "); len(cells) == 4 {
			rows[strings.TrimPrefix(cells[0], "| ")] = line
		}
	}
	return rows
}

const preface = `# Postfix and Sendmail, feature by feature

What a filter on libmilter sees of each MTA, and what becomes of what it says. This file is written by the tests in
[test/mta](../test/mta), which run every line of it on real MTAs, and fail when it is not so:
` + "`go test ./test/mta -update`" + ` writes it anew. The MTAs are %s and %s.

The MTAs have their default settings as far as milters are concerned, with milter_default_action=tempfail and F=T. Those of
"Replies that are not plain" go on without a filter that fails (milter_default_action=accept, no F), so that a refusal which
is lost shows as a mail that is delivered; those of "Mail that does not come by SMTP" have non_smtpd_milters = $smtpd_milters.
"works" means that what is to be seen was seen; where it was not, the cell says what was.
`

// render makes the document.
func render(seen []*observed, rows map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, seen[0].version, seen[1].version)
	group := ""
	for _, f := range features {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&b, "\n## %s\n\n| Feature | To be seen | %s | %s |\n|---|---|---|---|\n", group, seen[0].name, seen[1].name)
		}
		if f.macros {
			continue // which have a table of their own
		}
		_, ran := seen[0].lines[f.name]
		if !ran {
			b.WriteString(rows[f.name])
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |", f.name, cell(f.want))
		for _, o := range seen {
			said := "works"
			if !slices.Equal(f.want, o.lines[f.name]) {
				said = cell(o.lines[f.name])
			}
			fmt.Fprintf(&b, " %s |", said)
		}
		b.WriteString("\n")
	}
	renderMacros(&b, seen)
	return b.String()
}

// cell gives lines as a table's cell.
func cell(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	quoted := make([]string, len(lines))
	for i, line := range lines {
		quoted[i] = "`" + strings.ReplaceAll(line, "|", `\|`) + "`"
	}
	return strings.Join(quoted, "<br>")
}

const macroPreface = `
## Macros

Which macros each MTA sends by itself, and when (smfi_getsymval also finds those of earlier steps). They were seen in two
sessions: of a client in the clear, and of one with TLS, a certificate and AUTH. P is Postfix, S is Sendmail.

`

// renderMacros makes the table of macros.
func renderMacros(b *strings.Builder, seen []*observed) {
	b.WriteString(macroPreface)
	names := map[string]bool{}
	head, line := "| Macro |", "|---|"
	for _, stage := range stages {
		head, line = head+" "+stage.name+" |", line+"---|"
		for _, o := range seen {
			for name := range o.macros[stage.letter] {
				names[name] = true
			}
		}
	}
	b.WriteString(head + "\n" + line + "\n")
	for _, name := range slices.SortedFunc(maps.Keys(names), byWord) {
		fmt.Fprintf(b, "| `%s` |", name)
		for _, stage := range stages {
			var who []string
			for _, o := range seen {
				if _, ok := o.macros[stage.letter][name]; ok {
					who = append(who, o.name[:1])
				}
			}
			fmt.Fprintf(b, " %s |", strings.Join(who, " "))
		}
		b.WriteString("\n")
	}
}

// byWord sorts macros without their braces.
func byWord(a, b string) int {
	return strings.Compare(strings.Trim(a, "{}"), strings.Trim(b, "{}"))
}
