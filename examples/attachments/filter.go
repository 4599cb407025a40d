package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// filter decides about mails.
type filter struct {
	refused      refused
	limits       limits
	acceptBroken bool
	logger       *slog.Logger
}

func newServer(cfg *config, logger *slog.Logger) *milter.Server {
	f := &filter{refused: cfg.refused, limits: cfg.limits, acceptBroken: cfg.acceptBroken, logger: logger}
	return &milter.Server{
		Addr:         cfg.addr,
		RemoveSocket: true,
		Callbacks:    milter.Callbacks{Message: f.message},
		Logger:       logger,
	}
}

// message is Callbacks.Message.
func (f *filter) message(s *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
	logger := f.logger.With("session", s.ID(), "client", address(msg.Addr), "sender", msg.From.Address)
	if queueID, ok := s.Macro("i"); ok {
		logger = logger.With("queue_id", queueID)
	}

	found, err := f.inspect(msg)
	switch {
	case found != nil:
		logger.Info("refused", "file", found.file, "because", found.because)
		return s.Reply(550, "5.7.1", found.reply())
	case err != nil && f.acceptBroken:
		logger.Warn("accepted, though not read to its end", "error", err)
	case err != nil:
		logger.Info("refused, as it cannot be read to its end", "error", err)
		return s.Reply(550, "5.6.0", fmt.Sprintf("We cannot tell which files are attached to this mail: %v.", err))
	}
	return milter.SMFIS_CONTINUE
}

// address is a client's without its port, "" where the MTA does not know it.
func address(addr net.Addr) string {
	if client, ok := addr.(*net.TCPAddr); ok {
		return client.IP.String()
	}
	return ""
}

// inspect gives the first file that is refused, or the first thing that is wrong with a mail where there is none.
func (f *filter) inspect(msg *milter.Message) (*finding, error) {
	var found *finding
	w := &walker{limits: f.limits, visit: func(p *part) bool {
		found = f.refused.find(p)
		return found == nil
	}}
	w.walk(headerOf(msg), msg.Body)
	if w.fault == nil && msg.Truncated && w.searched { // of a file, only the name is read
		return found, errTruncated
	}
	return found, w.fault
}

var errTruncated = errors.New("it is too long")

// headerOf gives a mail's header.
func headerOf(msg *milter.Message) (header []field) {
	for name, value := range msg.Header.All() {
		header = append(header, newField(name, []byte(value)))
	}
	return header
}

// refused says which files are not taken.
type refused struct {
	extensions list
	types      list
}

// What Windows, and mail programs on it, run by themselves or at a click.
var (
	defaultExtensions = list{".ade", ".adp", ".apk", ".appx", ".bat", ".chm", ".cmd", ".com", ".cpl", ".dll", ".exe", ".hta", ".iso", ".jar",
		".js", ".jse", ".lnk", ".mde", ".msc", ".msi", ".msp", ".mst", ".pif", ".ps1", ".reg", ".scr", ".sct", ".vb", ".vbe", ".vbs", ".vhd",
		".wsc", ".wsf", ".wsh"}
	// message/partial is a piece of a mail: only the whole, which comes here in several mails, would show what is in it.
	defaultTypes = list{"application/hta", "application/javascript", "application/vnd.microsoft.portable-executable", "application/x-dosexec",
		"application/x-ms-shortcut", "application/x-msdos-program", "application/x-msdownload", "message/partial", "text/javascript"}
)

// find tells what is refused of a part, nil if nothing is.
func (r *refused) find(p *part) *finding {
	for _, name := range p.names {
		if extension := extensionOf(name, r.extensions); extension != "" {
			return &finding{file: name, because: extension}
		}
	}
	for _, contentType := range p.types {
		for _, t := range r.types {
			if contentType == t {
				return &finding{file: p.name(), because: t}
			}
		}
	}
	return nil
}

// finding is a file that is refused.
type finding struct {
	file    string // its name; "" if it has none
	because string // the extension or the type
}

// maxShown is how much of a name goes into a reply, whose lines are to be short.
const maxShown = 100

// reply is what the sender reads. Replies are in ASCII.
func (f *finding) reply() string {
	if f.file == "" {
		return fmt.Sprintf("We do not take attachments of type %s.", f.because)
	}
	shown := []rune(f.file)
	if len(shown) > maxShown {
		shown = append([]rune("..."), shown[len(shown)-maxShown:]...) // its end is what matters
	}
	return fmt.Sprintf("We do not take the attachment %s (%s).", strconv.QuoteToASCII(string(shown)), f.because)
}

// list is a flag's list, in lower case and separated by commas.
type list []string

func (l list) MarshalText() ([]byte, error) { return []byte(strings.Join(l, ",")), nil }

func (l *list) UnmarshalText(text []byte) error {
	*l = nil
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.ToLower(strings.TrimSpace(entry)); entry != "" {
			*l = append(*l, entry)
		}
	}
	return nil
}
