//go:build cgo && go1.26

package milter

// #cgo CFLAGS: -DMILTER_LINGER
import "C"
