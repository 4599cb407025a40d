package postfix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/libmilter/go-libmilter/test/harness"
)

// Delivered returns the mails that have been delivered so far, in the order of their arrival, as smtp-sink wrote them down:
// without any CR, and in the envelope with ? for what is not ASCII.
func (s *Server) Delivered() []harness.Mail {
	s.t.Helper()
	var mails []harness.Mail
	for _, file := range s.arrived() {
		dump, err := os.ReadFile(s.path("mails", file.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		mail, err := parseMail(string(dump))
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", file.Name(), err, dump)
		}
		mails = append(mails, mail)
	}
	return mails
}

// WaitDelivered waits until at least n mails have been delivered, and returns all of them.
func (s *Server) WaitDelivered(n int) []harness.Mail {
	s.t.Helper()
	got := 0
	if !harness.Poll(func() bool { got = len(s.arrived()); return got >= n }) {
		s.t.Fatalf("%d of %d mails were delivered within %v", got, n, harness.Patience)
	}
	return s.Delivered()
}

// arrived returns the files of the mails that the sink has taken whole, oldest first.
//
// The sink holds the file of a mail open until its end, and removes that of a broken off one before it closes it. So a file
// that was listed, then was not open, and then was still there will not change any more.
func (s *Server) arrived() []fs.FileInfo {
	s.t.Helper()
	listed, err := os.ReadDir(s.path("mails"))
	if err != nil {
		s.t.Fatal(err)
	}
	open, err := openFiles(s.sink.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	var files []fs.FileInfo
	for _, entry := range listed {
		if open[entry.Name()] {
			continue
		}
		if file, err := entry.Info(); err == nil {
			files = append(files, file)
		}
	}
	slices.SortStableFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	return files
}

// openFiles returns the names, without their folders, of the files that a process has open.
func openFiles(pid int) (map[string]bool, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	open := make(map[string]bool)
	for _, entry := range entries {
		if path, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil {
			open[filepath.Base(path)] = true
		}
	}
	return open, nil
}

// parseMail reads a file of smtp-sink: the envelope as X-Mail-Args and X-Rcpt-Args fields and a Received field of the
// sink's own, then the mail, then an empty line.
func parseMail(dump string) (harness.Mail, error) {
	head, body, _ := strings.Cut(strings.TrimSuffix(dump, "\n"), "\n\n")
	mail := harness.Mail{Body: []byte(body)}
	fields := harness.SplitFields(head)
	for i, field := range fields {
		var err error
		name, value, _ := strings.Cut(field, ": ")
		switch name {
		case "X-Mail-Args":
			mail.From, err = harness.ParsePath(value)
		case "X-Rcpt-Args":
			var rcpt harness.Path
			rcpt, err = harness.ParsePath(value)
			mail.Rcpts = append(mail.Rcpts, rcpt)
		case "Received":
			mail.Header = fields[i+1:]
			return mail, nil
		}
		if err != nil {
			return harness.Mail{}, err
		}
	}
	return harness.Mail{}, errors.New("no Received field of smtp-sink")
}
