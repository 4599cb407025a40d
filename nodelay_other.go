//go:build cgo && !linux

package milter

func listeners() map[int]bool { return nil }

// sendAtOnce: see nodelay.go. Elsewhere, options of a socket that listens are not those of what it accepts.
func sendAtOnce(map[int]bool) {}
