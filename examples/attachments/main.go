// Attachments is a filter that refuses mail with files that mail programs run when somebody clicks on them.
//
//	attachments -addr inet:8890@127.0.0.1 -extensions .exe,.js,.scr -types application/x-msdownload
//
// It knows a file by the name and the type that the mail gives it, in parts of parts and in mails that are attached too. It
// does not look into the files: what is in an archive passes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	switch err := run(ctx, os.Args[1:], os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "attachments:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	addr         string
	drain        time.Duration
	refused      refused
	limits       limits
	acceptBroken bool
}

func parse(args []string, usage io.Writer) (*config, error) {
	cfg := &config{}
	fs := flag.NewFlagSet("attachments", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&cfg.addr, "addr", "inet:8890@127.0.0.1", "where the MTA finds the filter, as smfi_setconn takes it")
	fs.DurationVar(&cfg.drain, "drain", 30*time.Second, "how long open sessions may go on after SIGTERM or SIGINT")
	fs.TextVar(&cfg.refused.extensions, "extensions", defaultExtensions, "ends of file names that are refused, separated by commas")
	fs.TextVar(&cfg.refused.types, "types", defaultTypes, "content types that are refused, separated by commas")
	fs.BoolVar(&cfg.acceptBroken, "accept-broken", false, "accept mail that cannot be read to its end, if nothing was found so far")
	fs.IntVar(&cfg.limits.parts, "max-parts", 1000, "how many parts of a mail are read")
	fs.IntVar(&cfg.limits.depth, "max-depth", 20, "how deep parts may be in others")
	fs.IntVar(&cfg.limits.unpacked, "max-unpacked", 32<<20, "how many bytes of attached mails are decoded")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	for i, extension := range cfg.refused.extensions {
		cfg.refused.extensions[i] = "." + strings.TrimPrefix(extension, ".")
	}
	if cfg.limits.parts < 1 || cfg.limits.depth < 0 || cfg.limits.unpacked < 0 {
		return nil, errors.New("-max-parts is below 1, or -max-depth or -max-unpacked below 0")
	}
	return cfg, nil
}

// run serves until ctx ends, then lets the open sessions end.
func run(ctx context.Context, args []string, logs io.Writer) error {
	cfg, err := parse(args, logs)
	if err != nil {
		return err
	}
	srv := newServer(cfg, slog.New(slog.NewJSONHandler(logs, nil)))

	drained := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), cfg.drain)
		defer cancel()
		drained <- srv.Shutdown(ctx)
	}()

	srv.Logger.Info("serving", "addr", cfg.addr, "extensions", cfg.refused.extensions, "types", cfg.refused.types)
	if err := srv.ListenAndServe(); !errors.Is(err, milter.ErrServerClosed) {
		return err
	}
	err = <-drained
	srv.Logger.Info("stopped", "mails", srv.Stats().Messages, "cut_off", srv.Stats().SessionsCutOff)
	return err
}
