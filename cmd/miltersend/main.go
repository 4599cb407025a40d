// Miltersend is a small MTA as a command. It takes one mail through a whole SMTP conversation with a milter and prints
// each step, the filter's reply and every change that the filter asked for. Run it with -help for its flags and its
// exit statuses.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/d--j/go-milter"
)

// The exit statuses that are no verdict of the filter.
const (
	exitError = 1
	exitUsage = 2
)

func main() {
	milter.LogWarning = func(format string, args ...any) {
		complain(os.Stderr, fmt.Errorf(format, args...))
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command without its process: it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opt, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		printHelp(stdout)
		return 0
	}
	if err != nil {
		complain(stderr, err)
		fmt.Fprintln(stderr, "Run miltersend -help for the usage.")
		return exitUsage
	}
	v, err := send(opt, stdin, stdout)
	if err != nil {
		complain(stderr, err)
		return exitError
	}
	return v.kind.exitStatus()
}

// send reads the mail and hands it to the filter.
func send(opt *options, stdin io.Reader, stdout io.Writer) (verdict, error) {
	raw, err := readFile(opt.file, stdin)
	if err != nil {
		return verdict{}, err
	}
	msg, err := parseMessage(raw)
	if err != nil {
		return verdict{}, err
	}
	opt.completeEnvelope(msg)
	return converse(opt, msg, &printer{stdout})
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// complain prints an error, which may hold the filter's bytes.
func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "miltersend: %s\n", visible(err.Error()))
}
