package main

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"regexp"
	"strings"
)

// Who sends from more than one machine tries again from a neighbour: what counts is the network.
const (
	networkBits4 = 24
	networkBits6 = 64
)

// triplet is what is greylisted: somebody in a network who writes to somebody.
type triplet struct {
	network   string // 192.0.2.0/24; "" where the MTA does not know the address
	sender    string // "" is the null sender
	recipient string
}

// newTriplet takes the addresses as the MTA gives them, in angle brackets.
func newTriplet(client netip.Addr, sender, recipient string) triplet {
	return triplet{
		network:   networkOf(client),
		sender:    stableSender(strings.ToLower(trimPath(sender))),
		recipient: strings.ToLower(trimPath(recipient)),
	}
}

// key is the triplet's in the store: of one length whatever the addresses are, and without them in clear.
func (t triplet) key() string {
	// No part can hold a NUL: the milter protocol ends its texts with one.
	sum := sha256.Sum256([]byte(t.network + "\x00" + t.sender + "\x00" + t.recipient))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func networkOf(client netip.Addr) string {
	bits := networkBits6
	switch {
	case !client.IsValid():
		return ""
	case client.Is4():
		bits = networkBits4
	}
	network, _ := client.Prefix(bits) // which fits the address
	return network.String()
}

var (
	batv    = regexp.MustCompile(`^prvs=[0-9a-z]+=`) // a signature that changes each day
	numbers = regexp.MustCompile(`\b\d+\b`)
)

// stableSender gives a sender without what its server makes anew for each mail, as mailing lists do: with it, no triplet
// of theirs would ever be known.
func stableSender(sender string) string {
	user, domain := splitAddress(sender)
	if domain == "" {
		return sender
	}
	user = batv.ReplaceAllString(user, "")
	user, _, _ = strings.Cut(user, "+")
	return numbers.ReplaceAllString(user, "#") + "@" + domain
}

// trimPath gives an address without its angle brackets.
func trimPath(path string) string {
	return strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">")
}

// splitAddress splits at the last @. An address without one has no domain.
func splitAddress(address string) (user, domain string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}
