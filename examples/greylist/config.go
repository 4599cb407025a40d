package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// config is what flags and environment variables say.
type config struct {
	addr     string
	http     string
	logLevel slog.Level

	redis        string
	redisCluster bool
	prefix       string
	storeTimeout time.Duration
	storeDown    policy

	delay       time.Duration
	retryWindow time.Duration
	lifetime    time.Duration
	whitelist   whitelist

	drainDelay time.Duration
	drain      time.Duration
}

// lookupFunc is os.LookupEnv.
type lookupFunc func(name string) (value string, ok bool)

// parse reads the environment and then the flags, which win. Help and mistakes of usage are written to usage.
func parse(args []string, lookup lookupFunc, usage io.Writer) (*config, error) {
	cfg := &config{}
	flags := cfg.flags()
	flags.SetOutput(usage)
	if err := setFromEnv(flags, lookup); err != nil {
		return nil, err
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return cfg, cfg.check()
}

func (cfg *config) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("greylist", flag.ContinueOnError)
	fs.StringVar(&cfg.addr, "addr", "inet:8890@127.0.0.1", "where the MTA finds the filter, as smfi_setconn takes it")
	fs.StringVar(&cfg.http, "http", "", "host:port of /metrics, /healthz and /readyz; none if empty")
	fs.TextVar(&cfg.logLevel, "log-level", slog.LevelInfo, "least level that is logged: debug, info, warn or error")

	fs.StringVar(&cfg.redis, "redis", "redis://127.0.0.1:6379/0", "URL of the store; rediss:// is with TLS, ?pool_size=50 and the like are go-redis's")
	fs.BoolVar(&cfg.redisCluster, "redis-cluster", false, "the URL is a Redis Cluster's")
	fs.StringVar(&cfg.prefix, "prefix", "greylist:", "what the keys in Redis begin with")
	fs.DurationVar(&cfg.storeTimeout, "store-timeout", 500*time.Millisecond, "how long a decision of the store may take")
	fs.TextVar(&cfg.storeDown, "store-down", policyAccept, "what becomes of mail when the store does not answer: accept or defer")

	fs.DurationVar(&cfg.delay, "delay", 5*time.Minute, "how long a triplet that is new has to wait")
	fs.DurationVar(&cfg.retryWindow, "retry-window", 48*time.Hour, "how long after its first attempt a triplet may come again")
	fs.DurationVar(&cfg.lifetime, "lifetime", 36*24*time.Hour, "how long after its last mail a triplet is known")
	const file = "; @path reads a file, an entry a line"
	fs.TextVar(&cfg.whitelist.networks, "whitelist-networks", loopback, "client addresses and networks that pass, separated by commas"+file)
	fs.TextVar(&cfg.whitelist.clients, "whitelist-clients", domainList{}, "verified client names that pass, with all names below them"+file)
	fs.TextVar(&cfg.whitelist.recipients, "whitelist-recipients", recipientList{}, "recipients that get mail at once: user@domain, domain or user@"+file)

	fs.DurationVar(&cfg.drainDelay, "drain-delay", 0, "how long after SIGTERM new sessions are still let in, while /readyz fails; a second SIGTERM ends that")
	fs.DurationVar(&cfg.drain, "drain", 30*time.Second, "how long open sessions may go on after that")
	fs.VisitAll(func(f *flag.Flag) { f.Usage += " (" + envName(f.Name) + ")" })
	return fs
}

// envName gives a flag's environment variable.
func envName(flag string) string {
	return "GREYLIST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func setFromEnv(flags *flag.FlagSet, lookup lookupFunc) (err error) {
	flags.VisitAll(func(f *flag.Flag) {
		value, ok := lookup(envName(f.Name))
		if !ok || err != nil {
			return
		}
		if err = f.Value.Set(value); err != nil {
			err = fmt.Errorf("invalid value %q for %s: %w", value, envName(f.Name), err)
		}
	})
	return err
}

// check looks at what the flags' types do not say.
func (cfg *config) check() error {
	switch {
	case cfg.delay <= 0:
		return errors.New("-delay must be above 0")
	case cfg.retryWindow <= cfg.delay:
		return fmt.Errorf("-retry-window %v leaves no time to come again after -delay %v", cfg.retryWindow, cfg.delay)
	case cfg.lifetime <= 0:
		return errors.New("-lifetime must be above 0")
	case cfg.storeTimeout <= 0:
		return errors.New("-store-timeout must be above 0")
	case cfg.drainDelay < 0 || cfg.drain < 0:
		return errors.New("-drain-delay and -drain must not be below 0")
	}
	return nil
}

// policy is what becomes of mail when the store does not answer.
type policy string

const (
	policyAccept policy = "accept" // mail passes as if there were no filter
	policyDefer  policy = "defer"  // mail comes later
)

// MarshalText is for flag.TextVar.
func (p policy) MarshalText() ([]byte, error) { return []byte(p), nil }

// UnmarshalText is for flag.TextVar.
func (p *policy) UnmarshalText(text []byte) error {
	switch *p = policy(text); *p {
	case policyAccept, policyDefer:
		return nil
	}
	return errors.New("neither accept nor defer")
}
