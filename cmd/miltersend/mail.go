package main

import (
	"fmt"
	"io"
	netmail "net/mail"
	"os"
	"strings"

	"github.com/libmilter/go-libmilter/miltertest"
)

// readMail reads the mail, and takes from it what the command line does not say of the envelope.
func (opt *options) readMail(stdin io.Reader) error {
	data, err := readFile(opt.file, stdin)
	if err != nil {
		return err
	}
	opt.mail.Data = string(data)
	header, _, err := opt.mail.Message()
	if err != nil {
		return fmt.Errorf("mail %s: %w", opt.file, err)
	}
	if opt.mail.From == "" {
		opt.mail.From = senderOf(header)
	}
	if opt.mail.To == nil {
		opt.mail.To = addresses(header.Get("To"))
	}
	if opt.mail.To == nil {
		opt.mail.To = []string{"<recipient@example.com>"}
	}
	opt.mail.From += opt.fromArgs
	for i := range opt.mail.To {
		opt.mail.To[i] += opt.rcptArgs
	}
	return nil
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// senderOf gives the envelope sender that a header names.
func senderOf(header miltertest.Header) string {
	path := header.Get("Return-Path")
	if strings.TrimSpace(path) == "<>" {
		return "<>"
	}
	for _, field := range []string{path, header.Get("From")} {
		if senders := addresses(field); senders != nil {
			return senders[0]
		}
	}
	return "<sender@example.org>"
}

// addresses gives those of a field's value, in angle brackets; none if it cannot be read.
func addresses(value string) (paths []string) {
	list, _ := netmail.ParseAddressList(strings.ReplaceAll(value, "\n", ""))
	for _, a := range list {
		a.Name = ""
		paths = append(paths, a.String())
	}
	return paths
}
