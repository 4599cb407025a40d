package main

import (
	"fmt"
	"regexp"
	"strings"
)

// asanOptions makes a filter that is built with AddressSanitizer go on after an error, and write to a file of this name with
// its process id behind.
func asanOptions(name string) string {
	return "ASAN_OPTIONS=halt_on_error=0:detect_leaks=0:log_path=" + name
}

// finding is an error that AddressSanitizer has found.
type finding struct {
	kind  string // "heap-buffer-overflow"
	where string // the function, and its file
	owner owner
	text  string // the report
	inGo  bool   // in the Go filter's process
}

// owner is whose fault a finding is.
type owner string

const (
	ownerLibmilter owner = "libmilter"
	ownerCFilter   owner = "the C filter"
	ownerBinding   owner = "the binding"
)

func (f finding) String() string { return fmt.Sprintf("%s: %s in %s", f.owner, f.kind, f.where) }

var (
	reportStart = regexp.MustCompile(`(?m)^==\d+==\s*ERROR: AddressSanitizer: `)
	frameLine   = regexp.MustCompile(`^\s*#\d+ 0x[0-9a-f]+\s+(?:in )?(\S*)\s*(.*)$`)
	// system is what is called by whoever is at fault: the sanitizer's interceptors and the C library.
	system = regexp.MustCompile(`libsanitizer|libasan|libc\.so|sysdeps|/nptl/|\.\./string/`)
	// libmilterFiles are libmilter's own, as test/libmilter/build.sh compiles them.
	libmilterFiles = regexp.MustCompile(`/(libmilter/(main|engine|listener|worker|handler|comm|smfi|signal|sm_gethost|monitor)|libsm/(errstring|strl))\.c\b|libmilter\.so`)
	cfilterFiles   = regexp.MustCompile(`/cfilter/\w+\.c\b`)
	lineNumbers    = regexp.MustCompile(`(:\d+)+$`)
)

// tally is how often something was found, in which filter's process.
type tally struct {
	finding
	inC, inGo int
	repeat    string // where it was found first
}

// fault tells whether a finding is not just libmilter's own: the binding can make libmilter read or write what it must
// not, but where the C filter has made it too, the binding is not to blame. A hostile session makes libmilter follow what it
// has read past a list, and the C filter too: what becomes of that differs from one process to the next.
func (t tally) fault(hostile bool) bool {
	switch t.owner {
	case ownerLibmilter:
		return t.inC == 0 && !hostile
	case ownerCFilter:
		return !hostile
	}
	return true
}

// parseFindings takes AddressSanitizer's reports apart.
func parseFindings(text string) (findings []finding) {
	starts := reportStart.FindAllStringIndex(text, -1)
	for i, start := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		kind, _, _ := strings.Cut(text[start[1]:end], " ")
		f := finding{kind: kind, text: text[start[0]:end]}
		f.where, f.owner = blame(f.text)
		findings = append(findings, f)
	}
	return findings
}

// blame looks at the first stack of a report: the function at fault is the first that is not the system's. What cannot be
// told is the binding's, so that somebody looks at it.
func blame(report string) (string, owner) {
	begun := false
	for line := range strings.Lines(report) {
		frame := frameLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		switch {
		case frame == nil && begun:
			return "nothing but the system", ownerBinding
		case frame == nil:
			continue
		}
		begun = true
		function, file := frame[1], frame[2]
		if system.MatchString(file) {
			continue
		}
		where := function + " (" + lineNumbers.ReplaceAllString(file[strings.LastIndex(file, "/")+1:], "") + ")"
		switch {
		case libmilterFiles.MatchString(file):
			return where, ownerLibmilter
		case cfilterFiles.MatchString(file):
			return where, ownerCFilter
		}
		return where, ownerBinding
	}
	return "no stack", ownerBinding
}

// ofMacros tells whether a filter has died of macros with a name that has no value: smfi_getsymval follows a pointer that is
// none, or gives it to its caller, smfiGetsymval or look_at_macros.
func ofMacros(death error) bool {
	text := strings.ToLower(death.Error())
	return strings.Contains(text, "getsymval") || strings.Contains(text, "look_at_macros")
}
