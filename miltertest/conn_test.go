package miltertest_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// packet gives a packet's bytes.
func packet(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

const agreed = "O\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00"

// expect reads packets up to one of a command.
func expect(conn net.Conn, command byte) {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head))-1); err != nil || head[4] == command {
			return
		}
	}
}

// A peer that breaks the protocol, or off, ends the connection with an error that says where and how.
func TestBrokenPeers(t *testing.T) {
	t.Parallel()
	const never = 200 * time.Millisecond
	answers := func(packets ...string) func(conn net.Conn) {
		return func(conn net.Conn) {
			for i, p := range packets {
				expect(conn, []byte{'O', 'C', 'H', 'M', 'R', 'T', 'L', 'N', 'B', 'E'}[i])
				_, _ = conn.Write([]byte(p))
			}
			expect(conn, 0) // until the MTA closes
		}
	}
	yes := string(packet("c"))
	ok := func(last ...string) []string {
		return append([]string{string(packet(agreed)), yes, yes, yes, yes, yes, yes, yes, yes}, last...)
	}
	for name, tc := range map[string]struct {
		peer func(conn net.Conn)
		want string
		is   error
	}{
		"closes":                 {func(net.Conn) {}, "Negotiate: the filter closed the connection: EOF", io.EOF},
		"says nothing":           {answers(""), "Negotiate: the filter did not answer in time: i/o timeout", os.ErrDeadlineExceeded},
		"half a packet":          {func(c net.Conn) { expect(c, 'O'); _, _ = c.Write([]byte("\x00\x00\x00")) }, "Negotiate: the filter closed the connection: EOF", io.EOF},
		"no data":                {func(c net.Conn) { expect(c, 'O'); _, _ = c.Write([]byte("\x00\x00\x00\x0dOxx")) }, "Negotiate: the filter closed the connection: EOF", io.EOF},
		"packet without letter":  {answers("\x00\x00\x00\x00Oxxxxx"), "Negotiate: the filter sent a packet of 0 bytes, which is no milter packet", nil},
		"packet of 4 GB":         {answers("\xff\xff\xff\xffOxxxxx"), "Negotiate: the filter sent a packet of 4294967295 bytes, which is no milter packet", nil},
		"no negotiation":         {answers(yes), "Negotiate: the filter answered what is no negotiation: < SMFIR_CONTINUE", nil},
		"short negotiation":      {answers(string(packet("O\x00\x00"))), `Negotiate: the filter answered what is no negotiation: < SMFIC_OPTNEG "\x00\x00"`, nil},
		"version 7":              {answers(string(packet(strings.Replace(agreed, "\x06", "\x07", 1)))), "Negotiate: the filter speaks protocol version 7, the MTA 2 to 6", nil},
		"version 1":              {answers(string(packet(strings.Replace(agreed, "\x06", "\x01", 1)))), "Negotiate: the filter speaks protocol version 1, the MTA 2 to 6", nil},
		"unknown action":         {answers(string(packet(strings.Replace(agreed, "\x01\xff", "\x03\xff", 1)))), "Negotiate: the filter asks for 0x200, which the MTA does not offer", nil},
		"unknown protocol bit":   {answers(string(packet(agreed[:12] + "\x80"))), "Negotiate: the filter asks for SMFIP_NR_HDR, which the MTA does not offer", nil},
		"macros without end":     {answers(string(packet(agreed + "\x00\x00\x00\x01i j"))), `Negotiate: the filter asks for macros in a form that is no list: "\x00\x00\x00\x01i j"`, nil},
		"macros of no stage":     {answers(string(packet(agreed + "\x00\x00\x00\x07i\x00"))), `Negotiate: the filter asks for macros in a form that is no list: "\x00\x00\x00\ai\x00"`, nil},
		"unknown reply":          {answers(string(packet(agreed)), string(packet("?what"))), `Connect: the filter sent what is no reply: < '?' "what"`, nil},
		"reply with data":        {answers(string(packet(agreed)), string(packet("cx"))), `Connect: the filter sent what is no reply: < SMFIR_CONTINUE "x"(no NUL)`, nil},
		"no SMTP reply":          {answers(string(packet(agreed)), string(packet("y250 ok\x00"))), `Connect: the filter sent a malformed SMTP reply: < SMFIR_REPLYCODE "250 ok"`, nil},
		"SMTP reply without end": {answers(string(packet(agreed)), string(packet("y550 no"))), `Connect: the filter sent a malformed SMTP reply: < SMFIR_REPLYCODE "550 no"(no NUL)`, nil},
		"change too early":       {answers(string(packet(agreed)), yes, string(packet("hA\x00b\x00"))), `Helo: the filter sent AddHeader("A", "b"), which it may at end of message only`, nil},
		"endless progress": {func(c net.Conn) {
			answers(string(packet(agreed)))
			expect(c, 'O')
			_, err := c.Write(packet(agreed))
			for ; err == nil; _, err = c.Write(packet("p")) {
				time.Sleep(time.Millisecond)
			}
		}, "Connect: the filter did not answer in time: i/o timeout", os.ErrDeadlineExceeded},
		"change without its action": {answers(append([]string{string(packet("O\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"))}, ok(string(packet("hA\x00b\x00")))[1:]...)...),
			"EOM: the filter sent AddHeader without having negotiated SMFIF_ADDHDRS", nil},
		"change without index":  {answers(ok(string(packet("m\x00\x01")))...), `EOM: the filter sent a malformed packet: < SMFIR_CHGHEADER "" "\x01"(no NUL)`, nil},
		"change of one text":    {answers(ok(string(packet("hA\x00")))...), `EOM: the filter sent a malformed packet: < SMFIR_ADDHEADER "A"`, nil},
		"change without end":    {answers(ok(string(packet("+<a@example.org>")))...), `EOM: the filter sent a malformed packet: < SMFIR_ADDRCPT "<a@example.org>"(no NUL)`, nil},
		"skip at the end":       {answers(ok(string(packet("s")))...), "EOM: the filter answered SMFIS_SKIP, which goes with SMFIP_SKIP, to RcptTo, Header and Segment only", nil},
		"closes after a change": {func(c net.Conn) { answersThenCloses(c, ok(string(packet("pp"))[:5])) }, "EOM: the filter closed the connection: EOF", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mta := miltertest.Postfix()
			mta.Protocol = milter.SMFIP_NOBODY
			switch { // what comes before is answered, however long that takes
			case tc.is != os.ErrDeadlineExceeded:
			case strings.HasPrefix(tc.want, "Negotiate"):
				mta.Timeout = never
			default:
				mta.Limit = never
			}
			c, err := mta.Dial(peer(t, tc.peer))
			if err == nil {
				result := c.Send(miltertest.Mail{Data: "A: b\n\nc\n"})
				assert.Equal(t, milter.SMFIS_TEMPFAIL, result.Verdict)
				err = c.Err()
			}
			require.EqualError(t, err, tc.want)
			var failure *miltertest.Error
			require.ErrorAs(t, err, &failure)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
			assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Helo("again").Status)
			assert.Equal(t, err, c.Err())
		})
	}
}

func answersThenCloses(conn net.Conn, packets []string) {
	for i, p := range packets {
		expect(conn, []byte{'O', 'C', 'H', 'M', 'R', 'T', 'L', 'N', 'B', 'E'}[i])
		_, _ = conn.Write([]byte(p))
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"":                        `filter's address "": want unix:/path`,
		"unix:":                   `filter's address "unix:": want unix:/path`,
		"inet:":                   "want unix:/path",
		"filter.sock":             "want unix:/path",
		"fd:3":                    "want unix:/path",
		"inet:@mx.example.org":    `bad port ""`,
		"inet:0@mx.example.org":   `bad port "0"`,
		"inet:65536@mx":           `bad port "65536"`,
		"inet:mx.example.org:25":  `bad port "mx.example.org:25"`,
		"inet:25@":                "no host",
		"inet6:25@[]":             "no host",
		"inet6:25@[::1":           "no closing bracket",
		"unix:/nowhere/s":         "Dial: dial unix /nowhere/s: connect: no such file or directory",
		"tcp:8891@mx.example.org": "want unix:/path",
	} {
		_, err := miltertest.Postfix().Dial(addr)
		require.ErrorContains(t, err, want, addr)
		outcome := try(t, func(t testing.TB) {
			mta := miltertest.Postfix()
			mta.T = t
			_, _ = mta.Dial(addr)
		})
		assert.True(t, outcome.ended)
		assert.Contains(t, outcome.text(), want)
	}
}

// What the steps do not do, packets and bytes do.
func TestByHand(t *testing.T) {
	t.Parallel()
	var seen []string
	f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	c := f.Connect()
	c.Write('M', "<a@example.org>\x00")
	assert.Equal(t, miltertest.Packet{Code: 'c'}, c.Read())
	c.WriteBytes([]byte("\x00\x00\x00\x05R<b>"))
	c.WriteBytes([]byte("\x00"))
	assert.Equal(t, miltertest.Packet{Code: 'c'}, c.Read())
	c.Write('Z')
	c.WaitClosed()
	assert.Equal(t, []string{`MailFrom "<a@example.org>" []`, `RcptTo "<b>" []`, "Abort", "Close"}, seen)

	outcome := try(t, func(t testing.TB) {
		c := f.For(t).Connect()
		c.Write('M', "<a@example.org>\x00")
		c.WaitClosed()
	})
	assert.Contains(t, outcome.text(), "miltertest: WaitClosed: the filter did not close the connection but sent < SMFIR_CONTINUE")
	silent := func(t testing.TB, addr string) *miltertest.Conn {
		mta := miltertest.Postfix()
		mta.T, mta.Timeout = t, 50*time.Millisecond
		c, err := mta.Open(addr)
		require.NoError(t, err)
		return c
	}
	says := func(conn net.Conn) { expect(conn, 0) } // nothing
	addr := peer(t, says)
	outcome = try(t, func(t testing.TB) { silent(t, addr).WaitClosed() })
	assert.Contains(t, outcome.text(), "miltertest: WaitClosed: the filter did not close the connection: ")
	addr = peer(t, says)
	outcome = try(t, func(t testing.TB) { silent(t, addr).Read() })
	assert.Contains(t, outcome.text(), "miltertest: Read: the filter did not answer in time")
}

func TestErrorIs(t *testing.T) {
	t.Parallel()
	err := &miltertest.Error{Step: "Helo", Err: io.EOF}
	assert.EqualError(t, err, "Helo: EOF")
	assert.True(t, errors.Is(err, io.EOF))
}

// Open says nothing, so that a test can begin as it likes.
func TestOpen(t *testing.T) {
	t.Parallel()
	sent := make(chan []byte, 1)
	addr := peer(t, func(conn net.Conn) {
		data, _ := io.ReadAll(conn)
		sent <- data
	})
	c, err := miltertest.Postfix().Open(addr)
	require.NoError(t, err)
	assert.Empty(t, c.Transcript())
	c.WriteBytes([]byte("first"))
	c.Close()
	assert.Equal(t, "first", string(<-sent))

	addr = peer(t, func(conn net.Conn) {
		expect(conn, 'H')
		_, _ = conn.Write(packet("c"))
		expect(conn, 'O')
		_, _ = conn.Write(packet(agreed))
		expect(conn, 0)
	})
	mta := miltertest.Postfix()
	mta.T = t
	c, err = mta.Open(addr)
	require.NoError(t, err)
	assert.Equal(t, milter.SMFIS_CONTINUE, c.Helo("before.example.org").Status)
	c.Negotiate()
	version, actions, _ := c.Negotiated()
	assert.Equal(t, 6, version)
	assert.Equal(t, mta.Actions, actions)
	c.Close()
}

// A connection that ends within a packet has not been closed as it should.
func TestWaitClosedWithinAPacket(t *testing.T) {
	t.Parallel()
	addr := peer(t, func(conn net.Conn) {
		expect(conn, 'O')
		_, _ = conn.Write(packet(agreed))
		expect(conn, 'Q')
		_, _ = conn.Write([]byte("\x00\x00"))
	})
	c, err := miltertest.Postfix().Dial(addr)
	require.NoError(t, err)
	c.Quit()
	require.EqualError(t, c.Err(), "Quit: the filter did not close the connection: in the middle of a packet: EOF")
}
