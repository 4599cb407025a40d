// Djfilter is github.com/d--j/go-milter, the milter protocol in pure Go, under the same load: all steps are asked for, one header is
// added at the end of message.
//
//	djfilter step|mailfilter unix:PATH|inet:PORT@HOST
//
// "step" is its server, which answers each step, "mailfilter" its package of that name: one decision a mail.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"github.com/d--j/go-milter"
	"github.com/d--j/go-milter/mailfilter"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: djfilter step|mailfilter ADDR")
	}
	network, address := socket(os.Args[2])
	if err := serve(os.Args[1], network, address); err != nil {
		log.Fatal(err)
	}
}

// socket takes an address as smfi_setconn has it to what package net has.
func socket(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	port, host, _ := strings.Cut(strings.TrimPrefix(addr, "inet:"), "@")
	return "tcp", net.JoinHostPort(host, port)
}

func serve(kind, network, address string) error {
	switch kind {
	case "step":
		l, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		return milter.NewServer(
			milter.WithMilter(func() milter.Milter { return marking{} }),
			milter.WithActions(milter.OptAddHeader),
		).Serve(l)
	case "mailfilter":
		f, err := mailfilter.New(network, address, func(_ context.Context, trx mailfilter.Trx) (mailfilter.Decision, error) {
			trx.Headers().Add("X-Filtered", "yes")
			return mailfilter.Accept, nil
		})
		if err != nil {
			return err
		}
		f.Wait()
		return nil
	}
	return fmt.Errorf("there is no filter %q", kind)
}

// marking lets all steps pass.
type marking struct{ milter.NoOpMilter }

func (marking) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	return milter.RespContinue, m.AddHeader("X-Filtered", "yes")
}
