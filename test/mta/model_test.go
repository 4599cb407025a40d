//go:build cgo

package mta

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// model is a case as miltertest plays it: what its MTAs tell of the same mails, with the same
// filter, is what was seen on the real ones.
type model struct {
	mails []miltertest.Mail
	tells func(results []*miltertest.Result) []string
}

// models are miltertest's MTAs, by the names of the real ones.
var models = map[string]func() miltertest.MTA{"Postfix": miltertest.Postfix, "Sendmail": miltertest.Sendmail}

// play gives what is to be seen of a case.
func (m *model) play(t *testing.T, kind string, f *feature) []string {
	c := &child{script: f.filter, events: json.NewEncoder(io.Discard)}
	mta := models[kind]()
	if f.manner == failsOpen {
		mta.OnFailure = milter.SMFIS_ACCEPT
	}
	filter := miltertest.StartServer(t, &milter.Server{Actions: c.Actions, Callbacks: c.callbacks()}).With(mta)
	var results []*miltertest.Result
	for _, mail := range m.mails {
		results = append(results, filter.Send(mail))
	}
	return m.tells(results)
}

// toldAndDelivered are the views refusals and deliveries.
func toldAndDelivered(results []*miltertest.Result) (lines []string) {
	delivered := 0
	for _, result := range results {
		if result.Verdict == milter.SMFIS_ACCEPT {
			delivered++
		} else {
			lines = append(lines, map[string]string{"RcptTo": "RCPT", "EOM": "message"}[result.Step]+": "+shortReply(result.Reply.Client))
		}
	}
	return append(lines, deliveredTimes(delivered))
}

// bodyAndHeader are the views body and headerBut, behind those of toldAndDelivered.
func bodyAndHeader(results []*miltertest.Result) []string {
	lines := toldAndDelivered(results)
	for _, result := range results {
		if result.Verdict == milter.SMFIS_ACCEPT {
			lines = append(lines, strconv.Quote(result.Body))
			for _, f := range result.Header {
				lines = append(lines, f.Name+": "+f.Value)
			}
		}
	}
	return lines
}

// rcptsIn are the recipients, but for the one that stays, of the mail that a sender has sent.
func rcptsIn(results []*miltertest.Result) func(sender string) []string {
	return func(sender string) (rcpts []string) {
		for _, result := range results {
			if result.From != "<"+sender+">" {
				continue
			}
			for _, rcpt := range result.Rcpts {
				if i := strings.Index(rcpt, " ORCPT="); i >= 0 {
					rcpt = rcpt[:i]
				}
				if rcpt != keptRcpt {
					rcpts = append(rcpts, shortText(rcpt))
				}
			}
		}
		slices.Sort(rcpts)
		return rcpts
	}
}

// deliveredTimes says how many mails were delivered.
func deliveredTimes(n int) string {
	switch n {
	case 0:
		return "not delivered"
	case 1:
		return "delivered once"
	}
	return fmt.Sprintf("delivered %d times", n)
}
