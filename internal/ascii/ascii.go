// Package ascii compares names of protocols: header fields, SMTP verbs and keywords. RFC 5321 and RFC 5322 have the same name
// in upper and lower case for A to Z alone. strings.EqualFold and strings.ToLower take the Kelvin sign (U+212A) for a k, and
// strings.EqualFold the long s (U+017F) for an s: two names that no MTA takes for one.
package ascii

// EqualFold reports whether s and t are the same but for the case of A to Z.
func EqualFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}

// ToLower returns s with A to Z in lower case, and s itself if it has none of them.
func ToLower(s string) string {
	for i := range len(s) {
		if lower(s[i]) != s[i] {
			return string(lowered(s))
		}
	}
	return s
}

func lowered(s string) []byte {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return b
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
