package micro

import "testing"

var (
	header = Join(Header, Header, Header, Header, Header, Header, Header, Header, Header, Header)

	// Mail is one of ten fields and 4 KB.
	Mail = Join(MailFrom, RcptTo, Data, header, EOH, Segment, EOM)

	// CollectedMail is the same without what Callbacks.Message asks the MTA to leave out.
	CollectedMail = Join(MailFrom, RcptTo, header, Segment, EOM)
)

// BenchmarkMails sends a mail again and again, each time when the filter has answered the one before.
func BenchmarkMails(b *testing.B, m *MTA, mail []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		if err := m.Write(mail); err != nil {
			b.Fatal(err)
		}
		if err := m.Reply(); err != nil {
			b.Fatal(err)
		}
	}
}
