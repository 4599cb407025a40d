package message

import (
	"fmt"
	"net"
	"net/smtp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// Filters that may not change what is there, for which the MTAs have to be told apart: without macros of its own, and with.
const (
	adding = "adding-"
	asking = "asking-"
)

var addingCases = []headerCase{
	{"behind the first", abc, insert(1, "N", "n"), "A: 1\nN: n\nB: 2\nC: 3\n"},
	{"everywhere", abc, all(insert(3, "N", "4"), insert(2, "N", "3"), insert(1, "N", "2"), insert(0, "N", "1")), "N: 1\nA: 1\nN: 2\nB: 2\nN: 3\nC: 3\nN: 4\n"},
	{"before one of the name", xyxx, all(insert(2, "X", "n"), insert(1, "N", "n")), "X: 1\nN: n\nY: y\nX: n\nX: 2\nX: 3\n"},
}

// Each Postfix is known as one, whatever it says of itself: a number as its version, no version, or nothing that is its own.
func TestHeaderSignsPostfix(t *testing.T) {
	t.Parallel()
	for name, params := range map[string]map[string]string{
		"default":                          nil,
		"milter_macro_v, a number":         {"milter_macro_v": "3.7.11"},
		"milter_connect_macros":            {"milter_connect_macros": "j {daemon_name} _"},
		"milter_connect_macros, a number":  {"milter_connect_macros": "j v {daemon_addr}", "milter_macro_v": "3.7.11"},
		"no milter_connect_macros":         {"milter_connect_macros": ""},
		"smtpd_upstream_proxy_protocol":    {"smtpd_upstream_proxy_protocol": "haproxy"},
		"smtpd_upstream_proxy_protocol, v": {"smtpd_upstream_proxy_protocol": "haproxy", "milter_macro_v": "3.7.11"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startHeaderFilters(t, adding, asking)
			s := postfix.Start(t, postfix.Config{Milters: f.addrs(), Params: params})
			f.sendAdding(s.Addr(), params["smtpd_upstream_proxy_protocol"] != "")
			f.assertDelivered(addingCases, s.WaitDelivered(len(f)*len(addingCases)))
		})
	}
}

// And each Sendmail.
func TestHeaderSignsSendmail(t *testing.T) {
	t.Parallel()
	const macros = "define(`confMILTER_MACROS_"
	for name, mc := range map[string]string{
		"default":                     "",
		"with v":                      macros + "CONNECT', `j, _, {daemon_name}, {if_name}, {if_addr}, v')dnl\n",
		"v alone":                     macros + "CONNECT', `v')dnl\n",
		"v alone, at the end nothing": macros + "CONNECT', `v')dnl\n" + macros + "EOM', `')dnl\n",
		"without {if_name}":           macros + "CONNECT', `j, _')dnl\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := startHeaderFilters(t, adding, asking)
			s := sendmail.Start(t, sendmail.Config{Milters: f.addrs(), MC: mc})
			f.sendAdding(s.Addr(), false)
			f.assertDelivered(addingCases, s.WaitDelivered(len(f)*len(addingCases)))
		})
	}
}

// sendAdding sends all cases to all filters, through a proxy if there is to be one.
func (f headerFilters) sendAdding(addr string, proxied bool) {
	t := f[0].t
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	if proxied {
		_, err := fmt.Fprint(conn, "PROXY TCP4 127.0.0.1 127.0.0.1 40000 25\r\n")
		require.NoError(t, err)
	}
	client, err := smtp.NewClient(conn, "mail.example.org")
	require.NoError(t, err)
	for _, filter := range f {
		for i, c := range addingCases {
			sendHeader(t, client, fmt.Sprintf("%s%d@example.org", filter.way, i), c.sent)
		}
	}
	assert.NoError(t, client.Quit())
}
