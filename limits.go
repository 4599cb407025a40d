//go:build cgo

package milter

import "fmt"

// Limits bound what is collected for Callbacks.Message, of one mail and of all that are open: no C function. A mail that goes
// beyond one of them is answered SMFIS_TEMPFAIL at its end, and logged. 0 is the default.
type Limits struct {
	HeaderFields int   // fields of a header; 5,000
	HeaderBytes  int64 // bytes of a header, names and values; 2 MiB
	Rcpts        int   // recipients of a mail; 10,000
	Memory       int64 // bytes of all open mails in memory, what is in files apart; 256 MiB
}

// NoBody is the MaxBody of a server whose Message reads no body.
const NoBody = -1

// defaultMaxBody is how much of a body is kept if Server.MaxBody is 0.
const defaultMaxBody = 100 << 20

var defaultLimits = Limits{HeaderFields: 5_000, HeaderBytes: 2 << 20, Rcpts: 10_000, Memory: 256 << 20}

// wrong names a limit that is below 0, if there is one.
func (l Limits) wrong() string {
	switch {
	case l.HeaderFields < 0:
		return "HeaderFields"
	case l.HeaderBytes < 0:
		return "HeaderBytes"
	case l.Rcpts < 0:
		return "Rcpts"
	case l.Memory < 0:
		return "Memory"
	}
	return ""
}

// exceeded is the error of a mail that a limit has stopped.
func exceeded(limit string, value any) error {
	return fmt.Errorf("%w: Server.Limits.%s is %v", errLimit, limit, value)
}
