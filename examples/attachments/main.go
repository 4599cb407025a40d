// Attachments is a filter that refuses mail with files that mail programs run when somebody clicks
// on them.
//
//	attachments -addr inet:8890@127.0.0.1 -extensions .exe,.js,.scr -types application/x-msdownload
//
// It knows a file by the name and the type that the mail gives it: in parts of parts, in attached
// mails, in texts (uuencode, yEnc), in what Outlook packs for another Outlook (TNEF), and in what
// is signed as one part (S/MIME). It does not look into the files: what is in an archive passes,
// and so does what is encrypted.
//
// Mail programs do not agree on what a mail says that is not well-formed, or says a thing twice. A
// mail is refused if there is a way to read it in which a file has a name or a type that is
// refused: names in pieces that are repeated, lack or have zeros in front of their number,
// parameters that are there twice, comments and quotation marks in odd places, encoded words where
// there are to be none, names as Windows shortens them.
//
// A mail is refused as well, with a text that says why, if it cannot be told what is in it: where a
// part or a header ends elsewhere for some programs (two boundaries, a CR by itself), where a name
// is in a character set that is not known, where an attached mail cannot be decoded or a limit is
// reached. With -accept-broken such a mail passes if nothing that is refused was found in it.
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
	fs.BoolVar(&cfg.acceptBroken, "accept-broken", false, "accept mail of which it cannot be told what is in it, if nothing was found")
	fs.IntVar(&cfg.limits.parts, "max-parts", 1000, "how many parts of a mail, and files in its texts, are read")
	fs.IntVar(&cfg.limits.depth, "max-depth", 20, "how deep parts may be in others")
	fs.IntVar(&cfg.limits.unpacked, "max-unpacked", 32<<20, "how many bytes of attached mails and containers are decoded")
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
