package miltertest_test

import (
	"fmt"
	"log"
	"mime"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
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

// A filter that decides about whole mails: the example of milter.Callbacks.
func Example_message() {
	t := aTest() // in a test it is func TestOutside(t *testing.T)'s

	f := miltertest.StartServer(t, &milter.Server{
		Actions:   milter.SMFIF_ADDHDRS | milter.SMFIF_CHGHDRS,
		Callbacks: milter.Callbacks{Message: tagOutside},
		MaxBody:   milter.NoBody,
	})

	inside := &net.TCPAddr{IP: net.IPv4(192, 168, 0, 7), Port: 25000}
	outside := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25000}
	for _, mail := range []miltertest.Mail{
		{Addr: outside, Data: "Subject: Hello\n\nHow are you?\n"},
		{Addr: outside, Data: "To: you@example.com\n\nHow are you?\n"},
		{Addr: outside, Data: "Subject: Re: [outside] Hello\n\nFine.\n"},
		{Addr: outside, Data: "Subject: =?utf-8?q?Re:_=5Boutside=5D_Gr=C3=BC=C3=9Fe?=\n\nFine.\n"},
		{Addr: inside, Data: "Subject: Lunch\n\nNow?\n"},
		{Addr: miltertest.UnknownAddr, Data: "Subject: Who am I?\n\nGuess.\n"},
		{Addr: &net.UnixAddr{Name: "/run/app.sock", Net: "unix"}, Data: "Subject: Report\n\nAll is well.\n"},
	} {
		fmt.Print(f.Send(mail).Header)
	}
	// Output:
	// Subject: [outside] Hello
	// To: you@example.com
	// Subject: [outside]
	// Subject: Re: [outside] Hello
	// Subject: =?utf-8?q?Re:_=5Boutside=5D_Gr=C3=BC=C3=9Fe?=
	// Subject: Lunch
	// Subject: [outside] Who am I?
	// Subject: Report
}

// The example of milter.Callbacks, which cannot run beside that package's tests, is the one above, and the README's program.
func TestMessageExample(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(text)
	}
	example := read("../example_message_test.go")

	_, filter, _ := strings.Cut(example, "\n)\n")
	filter, _, _ = strings.Cut(filter, "\nfunc ExampleCallbacks_message")
	require.Contains(t, read("example_message_test.go"), filter)

	program := strings.NewReplacer("//go:build cgo\n\n", "", "package milter_test", "package main", "func ExampleCallbacks_message()", "func main()").Replace(example)
	require.Contains(t, read("../README.md"), "```go\n"+program+"```\n")
}
