package micro_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/bench/micro"
)

var (
	socket string // of the one filter of this process

	// atEnd is what the filter does at the end of the next message.
	atEnd = make(chan func(s *milter.Session, m *milter.Modifier), 1)
)

func TestMain(m *testing.M) {
	code, err := micro.Serve(callbacks(), func(path string) int {
		socket = path
		return m.Run()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func callbacks() milter.Callbacks {
	const answer = milter.SMFIS_NOREPLY
	return milter.Callbacks{
		Connect:  func(*milter.Session, string, net.Addr) milter.Status { return answer },
		Unknown:  func(*milter.Session, string) milter.Status { return answer },
		Helo:     func(*milter.Session, string) milter.Status { return answer },
		MailFrom: func(*milter.Session, string, []string) milter.Status { return answer },
		RcptTo:   func(*milter.Session, string, []string) milter.Status { return answer },
		Data:     func(*milter.Session) milter.Status { return answer },
		Header:   func(*milter.Session, string, string) milter.Status { return answer },
		EOH:      func(*milter.Session) milter.Status { return answer },
		Segment:  func(*milter.Session, []byte) milter.Status { return answer },
		EOM:      endOfMessage,
		Abort:    func(*milter.Session) {},
		Close:    func(*milter.Session) {},
	}
}

func endOfMessage(s *milter.Session, m *milter.Modifier) milter.Status {
	select {
	case f := <-atEnd:
		f(s, m)
	default:
	}
	return milter.SMFIS_CONTINUE
}

func dial(b *testing.B) *micro.MTA {
	m, err := micro.Dial(socket)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	return m
}

// BenchmarkCrossing is the bare call from C into Go.
func BenchmarkCrossing(b *testing.B) {
	b.ReportAllocs()
	require.NoError(b, micro.Cross(b.N))
}

// BenchmarkCallback takes steps without replies, one after the other: libmilter's reading and the library's callback. Steps that
// cannot be repeated by themselves come with those that they need.
func BenchmarkCallback(b *testing.B) {
	var (
		envelope = micro.Join(micro.MailFrom, micro.RcptTo)
		content  = micro.Join(envelope, micro.Data)
		mail     = micro.Join(envelope, micro.EOM)
	)
	for _, bb := range []struct {
		name                string
		before, step, after []byte // after has an end of message, whose reply says that all was taken
	}{
		// libmilter takes SMFIC_QUIT_NC after an unknown command, not after a connect.
		{"Connect+Unknown+Close", nil, micro.Join(micro.Connect, micro.Unknown, micro.QuitNC), micro.Join(micro.Connect, mail)},
		{"Helo", micro.Connect, micro.Helo, mail},
		{"Unknown", micro.Connect, micro.Unknown, mail},
		{"MailFrom+Abort", micro.Connect, micro.Join(micro.MailFrom, micro.Abort), mail},
		{"RcptTo", micro.Join(micro.Connect, micro.MailFrom), micro.RcptTo, micro.EOM},
		{"MailFrom+RcptTo+Abort", micro.Connect, micro.Join(envelope, micro.Abort), mail},
		{"MailFrom+RcptTo+Data+Abort", micro.Connect, micro.Join(content, micro.Abort), mail},
		{"Header", micro.Join(micro.Connect, content), micro.Header, micro.Join(micro.EOH, micro.EOM)},
		{"MailFrom+RcptTo+Data+EOH+Abort", micro.Connect, micro.Join(content, micro.EOH, micro.Abort), mail},
		{"Segment", micro.Join(micro.Connect, content, micro.EOH), micro.Segment, micro.EOM},
	} {
		b.Run(bb.name, func(b *testing.B) {
			m := dial(b)
			require.NoError(b, m.Write(bb.before))
			b.ReportAllocs()
			b.ResetTimer()
			require.NoError(b, m.Repeat(bb.step, b.N))
			require.NoError(b, m.Write(bb.after))
			require.NoError(b, m.Reply())
		})
	}
}

// BenchmarkMail is a whole mail of ten fields and 4 KB, and the reply to its end.
func BenchmarkMail(b *testing.B) {
	m := dial(b)
	require.NoError(b, m.Write(micro.Connect))
	micro.BenchmarkMails(b, m, micro.Mail)
}

// BenchmarkSession is a connection: its begin, its negotiation and its end.
func BenchmarkSession(b *testing.B) {
	b.ReportAllocs() // those of the MTA's connecting, too
	for b.Loop() {
		m, err := micro.Dial(socket)
		require.NoError(b, err)
		require.NoError(b, m.Close())
	}
}

// BenchmarkCall makes calls to libmilter, all in one end of message. Those that change the mail each write a packet, which
// the MTA reads meanwhile.
func BenchmarkCall(b *testing.B) {
	body := make([]byte, 4096)
	for _, bb := range []struct {
		name string
		call func(s *milter.Session, m *milter.Modifier) error
	}{
		{"Macro", func(s *milter.Session, _ *milter.Modifier) error { s.Macro("i"); return nil }},
		{"Macro/missing", func(s *milter.Session, _ *milter.Modifier) error { s.Macro("{auth_type}"); return nil }},
		{"SetReply", func(s *milter.Session, _ *milter.Modifier) error { return s.SetReply("550", "5.7.1", "No, thanks.") }},
		{"SetMLReply", func(s *milter.Session, _ *milter.Modifier) error {
			return s.SetMLReply("550", "5.7.1", "No,", "thanks.")
		}},
		{"AddHeader", func(_ *milter.Session, m *milter.Modifier) error { return m.AddHeader("X-Filtered", "yes") }},
		{"ChangeHeader", func(_ *milter.Session, m *milter.Modifier) error { return m.ChangeHeader("Subject", 1, "no subject") }},
		{"InsertHeader", func(_ *milter.Session, m *milter.Modifier) error { return m.InsertHeader(0, "X-Filtered", "yes") }},
		{"ChangeFrom", func(_ *milter.Session, m *milter.Modifier) error { return m.ChangeFrom("<from@example.org>", "") }},
		{"AddRcpt", func(_ *milter.Session, m *milter.Modifier) error { return m.AddRcpt("<to@example.com>") }},
		{"AddRcptPar", func(_ *milter.Session, m *milter.Modifier) error {
			return m.AddRcptPar("<to@example.com>", "NOTIFY=NEVER")
		}},
		{"DelRcpt", func(_ *milter.Session, m *milter.Modifier) error { return m.DelRcpt("<to@example.com>") }},
		{"ReplaceBody", func(_ *milter.Session, m *milter.Modifier) error { return m.ReplaceBody(body) }},
		{"Quarantine", func(_ *milter.Session, m *milter.Modifier) error { return m.Quarantine("looks odd") }},
		{"Progress", func(_ *milter.Session, m *milter.Modifier) error { return m.Progress() }},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkCall(b, bb.call) })
	}
}

func benchmarkCall(b *testing.B, call func(s *milter.Session, m *milter.Modifier) error) {
	m := dial(b)
	require.NoError(b, m.Write(micro.Join(micro.Connect, micro.MailFrom, micro.RcptTo)))
	var failed error // a callback may not end the benchmark
	atEnd <- func(s *milter.Session, m *milter.Modifier) {
		b.ResetTimer()
		for range b.N {
			if err := call(s, m); err != nil {
				failed = err
			}
		}
		b.StopTimer()
	}
	b.ReportAllocs()
	require.NoError(b, m.Write(micro.EOM))
	require.NoError(b, m.Reply())
	require.NoError(b, failed)
}
