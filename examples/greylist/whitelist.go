package main

import (
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// whitelist is who is not greylisted.
type whitelist struct {
	networks   networkList
	clients    domainList
	recipients recipientList
}

// loopback is the MTA's own mail.
var loopback = networkList{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// networkList is a list of networks, and of addresses, which are networks of one.
type networkList []netip.Prefix

func (l networkList) contains(addr netip.Addr) bool {
	for _, network := range l {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// MarshalText is for flag.TextVar, which shows the default with it.
func (l networkList) MarshalText() ([]byte, error) {
	texts := make([]string, len(l))
	for i, network := range l {
		texts[i] = network.String()
	}
	return []byte(strings.Join(texts, ",")), nil
}

// UnmarshalText is for flag.TextVar.
func (l *networkList) UnmarshalText(text []byte) error {
	entries, err := entriesOf(string(text))
	if err != nil {
		return err
	}
	*l = nil
	for _, entry := range entries {
		network, err := parseNetwork(entry)
		if err != nil {
			return err
		}
		*l = append(*l, network)
	}
	return nil
}

func parseNetwork(entry string) (netip.Prefix, error) {
	if strings.Contains(entry, "/") {
		network, err := netip.ParsePrefix(entry)
		return network.Masked(), err
	}
	addr, err := netip.ParseAddr(entry)
	return netip.PrefixFrom(addr, addr.BitLen()), err
}

// domainList is a set of domains. Names below a domain belong to it.
type domainList map[string]bool

func (l domainList) contains(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for found := len(l) > 0; found; _, name, found = strings.Cut(name, ".") {
		if l[name] {
			return true
		}
	}
	return false
}

// MarshalText is for flag.TextVar, which shows the default with it.
func (l domainList) MarshalText() ([]byte, error) { return joinKeys(l), nil }

// UnmarshalText is for flag.TextVar.
func (l *domainList) UnmarshalText(text []byte) error {
	entries, err := entriesOf(string(text))
	*l = domainList{}
	for _, entry := range entries {
		(*l)[strings.Trim(strings.ToLower(entry), ".")] = true
	}
	return err
}

// recipientList is a set of recipients: "user@example.com", "example.com" for all of a domain, and "user@" for that user of
// every domain.
type recipientList map[string]bool

func (l recipientList) contains(recipient string) bool {
	recipient = strings.ToLower(recipient)
	user, domain := splitAddress(recipient)
	return l[recipient] || l[domain] || l[user+"@"]
}

// MarshalText is for flag.TextVar, which shows the default with it.
func (l recipientList) MarshalText() ([]byte, error) { return joinKeys(l), nil }

// UnmarshalText is for flag.TextVar.
func (l *recipientList) UnmarshalText(text []byte) error {
	entries, err := entriesOf(string(text))
	*l = recipientList{}
	for _, entry := range entries {
		(*l)[strings.ToLower(entry)] = true
	}
	return err
}

func joinKeys(set map[string]bool) []byte {
	return []byte(strings.Join(slices.Sorted(maps.Keys(set)), ","))
}

// entriesOf splits a list at commas. An entry @path stands for those in that file: an entry a line, # begins a comment.
func entriesOf(list string) ([]string, error) {
	var entries []string
	for entry := range strings.SplitSeq(list, ",") {
		switch path, isFile := strings.CutPrefix(strings.TrimSpace(entry), "@"); {
		case isFile:
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			entries = append(entries, linesOf(string(text))...)
		case path != "":
			entries = append(entries, path)
		}
	}
	return entries, nil
}

func linesOf(text string) (entries []string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			entries = append(entries, line)
		}
	}
	return entries
}
