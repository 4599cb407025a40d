// Gofilter is the library under load: every callback registered, one header added at the end of message.
//
//	gofilter step|step-nr|message ADDR
//
// "step" answers each step, "step-nr" negotiates that none is answered but the end of message, "message" is
// Callbacks.Message alone.
package main

import (
	"fmt"
	"log"
	"net"
	"os"

	milter "github.com/libmilter/go-libmilter"
)

const noReplies = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_MAIL | milter.SMFIP_NR_RCPT | milter.SMFIP_NR_DATA |
	milter.SMFIP_NR_UNKN | milter.SMFIP_NR_HDR | milter.SMFIP_NR_EOH | milter.SMFIP_NR_BODY

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gofilter step|step-nr|message ADDR")
	}
	cb, err := callbacks(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(milter.ListenAndServe(os.Args[2], milter.SMFIF_ADDHDRS, cb))
}

func callbacks(kind string) (milter.Callbacks, error) {
	switch kind {
	case "step":
		return everyStep(0, milter.SMFIS_CONTINUE), nil
	case "step-nr":
		return everyStep(noReplies, milter.SMFIS_NOREPLY), nil
	case "message":
		return milter.Callbacks{Message: func(_ *milter.Session, _ *milter.Message, m *milter.Modifier) milter.Status {
			return mark(m)
		}}, nil
	}
	return milter.Callbacks{}, fmt.Errorf("there is no filter %q", kind)
}

// everyStep does nothing at each step but return its answer.
func everyStep(protocol milter.Protocol, answer milter.Status) milter.Callbacks {
	return milter.Callbacks{
		Negotiate: func(_ *milter.Session, n *milter.Negotiation) milter.Status {
			n.Actions = milter.SMFIF_ADDHDRS
			n.Protocol = protocol & n.OfferedProtocol
			return milter.SMFIS_CONTINUE
		},
		Connect:  func(*milter.Session, string, net.Addr) milter.Status { return answer },
		Unknown:  func(*milter.Session, string) milter.Status { return answer },
		Helo:     func(*milter.Session, string) milter.Status { return answer },
		MailFrom: func(*milter.Session, string, []string) milter.Status { return answer },
		RcptTo:   func(*milter.Session, string, []string) milter.Status { return answer },
		Data:     func(*milter.Session) milter.Status { return answer },
		Header:   func(*milter.Session, string, string) milter.Status { return answer },
		EOH:      func(*milter.Session) milter.Status { return answer },
		Segment:  func(*milter.Session, []byte) milter.Status { return answer },
		EOM:      func(_ *milter.Session, m *milter.Modifier) milter.Status { return mark(m) },
		Abort:    func(*milter.Session) {},
		Close:    func(*milter.Session) {},
	}
}

// mark is what every filter of the benchmark does.
func mark(m *milter.Modifier) milter.Status {
	if err := m.AddHeader("X-Filtered", "yes"); err != nil {
		log.Print(err)
		return milter.SMFIS_TEMPFAIL
	}
	return milter.SMFIS_CONTINUE
}
