package postfix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mail is one mail as it was delivered. Lines end in LF in place of the CRLF of the wire, and smtp-sink, which writes the
// mails down, drops every other CR with it.
type Mail struct {
	From   Path
	Rcpts  []Path   // in Postfix's order, which is not that of the RCPT commands
	Header []string // the fields in their order, each whole: "Subject: a test"; a folded one has its line breaks
	Body   []byte
}

// Path is an envelope address and its ESMTP parameters, such as SIZE=1000. smtp-sink writes ? for what is not ASCII.
type Path struct {
	Address string // without the angle brackets
	Args    []string
}

// Delivered returns the mails that have been delivered so far, in the order of their arrival.
func (s *Server) Delivered() []Mail {
	s.t.Helper()
	var mails []Mail
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
func (s *Server) WaitDelivered(n int) []Mail {
	s.t.Helper()
	got := 0
	if !poll(func() bool { got = len(s.arrived()); return got >= n }) {
		s.t.Fatalf("%d of %d mails were delivered within %v", got, n, patience)
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
func parseMail(dump string) (Mail, error) {
	head, body, _ := strings.Cut(strings.TrimSuffix(dump, "\n"), "\n\n")
	mail := Mail{Body: []byte(body)}
	fields := splitFields(head)
	for i, field := range fields {
		var err error
		name, value, _ := strings.Cut(field, ": ")
		switch name {
		case "X-Mail-Args":
			mail.From, err = parsePath(value)
		case "X-Rcpt-Args":
			var rcpt Path
			rcpt, err = parsePath(value)
			mail.Rcpts = append(mail.Rcpts, rcpt)
		case "Received":
			mail.Header = fields[i+1:]
			return mail, nil
		}
		if err != nil {
			return Mail{}, err
		}
	}
	return Mail{}, errors.New("no Received field of smtp-sink")
}

// splitFields splits a mail header into its fields.
func splitFields(head string) []string {
	var fields []string
	for _, line := range strings.Split(strings.TrimSuffix(head, "\n"), "\n") {
		if last := len(fields) - 1; last >= 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			fields[last] += "\n" + line
		} else {
			fields = append(fields, line)
		}
	}
	return fields
}

// sinkPath is an address in angle brackets, with a quoted local part or not, and its parameters.
var sinkPath = regexp.MustCompile(`^<((?:"(?:\\.|[^"\\])*"|[^">])*)>(.*)$`)

// parsePath reads the arguments of a MAIL or RCPT command.
func parsePath(text string) (Path, error) {
	match := sinkPath.FindStringSubmatch(text)
	if match == nil {
		return Path{}, fmt.Errorf("no envelope address in %q", text)
	}
	path := Path{Address: match[1]}
	if match[2] != "" {
		path.Args = strings.Fields(match[2])
	}
	return path, nil
}
