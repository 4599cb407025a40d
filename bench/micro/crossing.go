// Package micro has what the micro-benchmarks need: a filter in the benchmark's process, an MTA that sends it packets made in
// advance, and, to compare with, bare calls from C into Go.
package micro

/*
#cgo LDFLAGS: -pthread
int cross(long n);
*/
import "C"

import "errors"

//export micro_called
func micro_called(x C.int) C.int { return x }

// Cross calls Go from C, n times, on a thread that C has made: as libmilter does, with nothing on either side.
func Cross(n int) error {
	if C.cross(C.long(n)) != 0 {
		return errors.New("no thread could be made")
	}
	return nil
}
