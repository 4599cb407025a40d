//go:build cgo

package milter_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// ending reports the callbacks of mails, and returns a status at one of them: "callback status".
var ending = register("ending", func(e *child) *milter.Server {
	var callback string
	var status milter.Status
	fmt.Sscan(e.arg, &callback, &status)
	at := func(s *milter.Session, name string) milter.Status {
		e.emit(s.ID(), name)
		if name == callback {
			return status
		}
		return milter.SMFIS_CONTINUE
	}
	return &milter.Server{Callbacks: milter.Callbacks{
		Connect:  func(s *milter.Session, _ string, _ net.Addr) milter.Status { return milter.SMFIS_CONTINUE },
		Helo:     func(s *milter.Session, _ string) milter.Status { return milter.SMFIS_CONTINUE },
		MailFrom: func(s *milter.Session, _ string, _ []string) milter.Status { return at(s, "mailfrom") },
		RcptTo:   func(s *milter.Session, _ string, _ []string) milter.Status { return at(s, "rcptto") },
		Data:     func(s *milter.Session) milter.Status { return at(s, "data") },
		Header:   func(s *milter.Session, _, _ string) milter.Status { return at(s, "header") },
		EOH:      func(s *milter.Session) milter.Status { return at(s, "eoh") },
		Segment:  func(s *milter.Session, _ []byte) milter.Status { return at(s, "segment") },
		EOM:      func(s *milter.Session, _ *milter.Modifier) milter.Status { return at(s, "eom") },
		Abort:    func(s *milter.Session) { at(s, "abort") },
		Close:    func(s *milter.Session) { at(s, "close") },
	}}
})

// Each way in which a mail ends, as the package's documentation has them: what comes behind it, where the MTA gives the mail
// up then, as it may, and ends the session.
func TestEndsOfAMail(t *testing.T) {
	t.Parallel()
	ends := []milter.Status{milter.SMFIS_REJECT, milter.SMFIS_TEMPFAIL, milter.SMFIS_DISCARD, milter.SMFIS_ACCEPT}
	all := []string{"mailfrom", "rcptto", "data", "header", "eoh", "segment", "eom"}
	for i, callback := range all {
		for _, status := range append(ends, milter.SMFIS_CONTINUE) {
			t.Run(fmt.Sprint(callback, " ", status), func(t *testing.T) {
				t.Parallel()
				p := start(t, ending, withArg(fmt.Sprint(callback, " ", int(status))))
				w := p.session()
				w.until("Connect", ordinary[2+i].name)
				w.Abort()
				w.Quit()
				p.stop()
				ofRcpt := callback == "rcptto" && status != milter.SMFIS_ACCEPT
				want := append([]string{}, all[:i+1]...)
				if callback != "eom" && (status == milter.SMFIS_CONTINUE || ofRcpt) {
					want = append(want, "abort")
				}
				assert.Equal(t, strings.Join(append(want, "close"), " "), p.trail())
			})
		}
	}
	t.Run("connection lost", func(t *testing.T) {
		t.Parallel()
		p := start(t, ending)
		w := p.session()
		w.until("Connect", "Segment")
		w.Close()
		p.awaitName("close")
		p.stop()
		assert.Equal(t, "mailfrom rcptto data header eoh segment abort close", p.trail())
	})
	t.Run("connection lost at end of message", func(t *testing.T) {
		t.Parallel()
		p := start(t, ending)
		w := p.session()
		w.until("Connect", "Segment")
		w.Write('E')
		p.awaitName("eom")
		w.Close()
		p.awaitName("close")
		p.stop()
		assert.Equal(t, "mailfrom rcptto data header eoh segment eom close", p.trail())
	})
}

// trail returns the callbacks that the filter has reported.
func (p *process) trail() string {
	var names []string
	for _, e := range p.events() {
		if e.Name != "ended" && e.Name != "log" {
			names = append(names, e.Name)
		}
	}
	return strings.Join(names, " ")
}
