// Conformance compares the Go binding with libmilter: a C filter and a Go filter, whose answers are a function of all that
// they were given, get the same random sessions, and must answer with the same bytes.
//
//	go run ./test/conformance [-n 3000]
//
// Both of libmilter's threading models are used, and four policies: a filter that negotiates, one that leaves that to
// libmilter, one that registers only some callbacks, and one that decides once for each mail, in Go by Callbacks.Message. The sessions are a function of -seed. Where the filters differ, both
// transcripts are printed, and the command that repeats the session.
//
// With -asan libmilter, the C filter and the binding's C are built with AddressSanitizer. What it finds in libmilter is
// listed; anything else fails. With -hostile as well, the sessions may do what makes libmilter read what is not there: the
// answers are not compared then.
//
// cfilter/filter.c and gofilter are the filters.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// settings are the command's flags.
type settings struct {
	seed     uint64
	sessions uint64 // of each model and policy
	batch    uint64
	models   []model
	policies []policy
	only     uint64 // the number of the one session to repeat
	repeated bool   // whether there is one
	asan     bool
	hostile  bool
	fault    int
	workers  int
}

func main() {
	set, err := parseFlags(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	same, err := set.run(os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if !same {
		os.Exit(1)
	}
}

func parseFlags(args []string) (*settings, error) {
	set := &settings{}
	flags := flag.NewFlagSet("conformance", flag.ExitOnError)
	flags.Uint64Var(&set.seed, "seed", 1, "what the sessions and the answers are made of")
	flags.Uint64Var(&set.sessions, "n", 3000, "how many sessions for each model and policy")
	flags.Uint64Var(&set.batch, "batch", 100, "how many sessions one pair of filters is given")
	modelNames := flags.String("models", "pool,threads", "libmilter's threading models")
	policyNames := flags.String("policies", "negotiate,default,some,message", "how the filters are set up")
	session := flags.Int64("session", -1, "repeat only the session of this number, and those before it in its batch, and show it")
	flags.BoolVar(&set.asan, "asan", false, "run under AddressSanitizer")
	flags.BoolVar(&set.hostile, "hostile", false, "send also what makes libmilter's behaviour undefined, and compare nothing")
	flags.IntVar(&set.fault, "fault", 0, "let the Go filter go wrong at its callback of this number, to see that it is found")
	flags.IntVar(&set.workers, "workers", runtime.NumCPU()+1, "how many pairs of filters run at the same time")
	_ = flags.Parse(args) // it exits
	if set.repeated = *session >= 0; set.repeated {
		set.only = uint64(*session)
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case set.batch == 0 || set.workers < 1:
		return nil, errors.New("-batch and -workers must be at least 1")
	case set.hostile && !set.asan:
		return nil, errors.New("-hostile needs -asan, which looks at what is not compared")
	}
	return set, set.choose(*modelNames, *policyNames)
}

// choose finds the models and policies by their names.
func (set *settings) choose(modelNames, policyNames string) error {
	for name := range strings.SplitSeq(modelNames, ",") {
		m, err := modelByName(name)
		if err != nil {
			return err
		}
		set.models = append(set.models, m)
	}
	for name := range strings.SplitSeq(policyNames, ",") {
		p, err := policyByName(name)
		if err != nil {
			return err
		}
		set.policies = append(set.policies, p)
	}
	if set.repeated && len(set.models)*len(set.policies) != 1 {
		return errors.New("-session needs one of -models and one of -policies")
	}
	return nil
}
