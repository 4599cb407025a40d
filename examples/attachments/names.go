package main

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// fileNames gives a name as a file may have it: in lower case, in the letters that others stand for
// (fullwidth ones), without what cannot be seen, and without what Windows and mail programs on it
// leave out at its end. They also leave out what no file name there can have, or put something in
// its place.
func fileNames(name string) []string {
	visible := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(name))
	legal := strings.NewReplacer("<", "", ">", "", ":", "", `"`, "", "/", "", `\`, "", "|", "",
		"?", "", "*", "").Replace(visible)
	names := []string{withoutEnd(visible)}
	add(&names, withoutEnd(legal))
	return names
}

func withoutEnd(name string) string {
	return strings.TrimRightFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(`."'`, r)
	})
}

// extensionOf gives the one of the extensions in which a name ends, "" if there is none.
func extensionOf(name string, extensions []string) string {
	for _, fileName := range fileNames(name) {
		for _, extension := range extensions {
			if strings.HasSuffix(fileName, extension) {
				return extension
			}
		}
	}
	return ""
}
