//go:build cgo

package milter_test

import (
	"log"
	"mime"
	"net"
	"net/netip"
	"slices"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// ourNetworks are where our own clients are.
var ourNetworks = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fd00::/8"),
}

// isOurs tells whether a client is in our networks. One that the MTA knows no address of is not.
func isOurs(client net.Addr) bool {
	tcp, ok := client.(*net.TCPAddr)
	if !ok {
		return client != nil // a *net.UnixAddr: a program on the MTA's machine
	}
	addr := tcp.AddrPort().Addr().Unmap()
	return slices.ContainsFunc(ourNetworks, func(network netip.Prefix) bool { return network.Contains(addr) })
}

// tagOutside marks the subject of mail from outside, once: an answer to such a mail is marked already.
func tagOutside(s *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
	const tag = "[outside]"
	subject := msg.Header.Get("Subject")
	shown, err := new(mime.WordDecoder).DecodeHeader(subject)
	if err != nil {
		shown = subject // in a character set that is not known
	}
	if isOurs(msg.Addr) || strings.Contains(shown, tag) {
		return milter.SMFIS_CONTINUE
	}
	if err := msg.Header.Set("Subject", strings.TrimSpace(tag+" "+subject)); err != nil {
		log.Print(err)
		return milter.SMFIS_TEMPFAIL
	}
	return milter.SMFIS_CONTINUE
}

func ExampleCallbacks_message() {
	srv := &milter.Server{
		Addr:      "inet:8890@127.0.0.1",
		Actions:   milter.SMFIF_ADDHDRS | milter.SMFIF_CHGHDRS,
		Callbacks: milter.Callbacks{Message: tagOutside},
		MaxBody:   milter.NoBody, // it reads the header only
	}
	log.Fatal(srv.ListenAndServe())
}
