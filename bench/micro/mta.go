package micro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// MTA is the other end of a filter's connection. It takes no memory once it has connected, so that the allocations of a benchmark
// are those of the library.
type MTA struct {
	conn net.Conn
	buf  [64 << 10]byte
	have []byte // of buf: read, not looked at yet
}

// deadline is when a benchmark's connection gives up.
const deadline = 10 * time.Minute

// allProtocol are the protocol bits of version 6.
const allProtocol = 0x1fffff

// Dial connects and negotiates.
func Dial(path string) (*MTA, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	m := &MTA{conn: conn}
	offer := binary.BigEndian.AppendUint32(nil, 6)
	offer = binary.BigEndian.AppendUint32(offer, uint32(AllActions))
	offer = binary.BigEndian.AppendUint32(offer, allProtocol)
	if err := errors.Join(conn.SetDeadline(time.Now().Add(deadline)), m.Write(Packet('O', string(offer)))); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if code, err := m.packet(); err != nil || code != 'O' {
		return nil, errors.Join(fmt.Errorf("the filter does not negotiate, but says %q", code), err, conn.Close())
	}
	return m, nil
}

// Close ends the connection, and the filter's session.
func (m *MTA) Close() error { return m.conn.Close() }

// Write sends packets.
func (m *MTA) Write(packets []byte) error {
	_, err := m.conn.Write(packets)
	return err
}

// Repeat sends the same packets again and again, many of them at once.
func (m *MTA) Repeat(packets []byte, n int) error {
	many := max(1, len(m.buf)/len(packets))
	block := make([]byte, 0, many*len(packets))
	for range many {
		block = append(block, packets...)
	}
	for ; n > 0; n -= many {
		if err := m.Write(block[:min(n, many)*len(packets)]); err != nil {
			return err
		}
	}
	return nil
}

var errReply = errors.New("the filter does not answer continue")

// Reply reads up to the filter's reply, past the changes that it asks for.
func (m *MTA) Reply() error {
	for {
		switch code, err := m.packet(); {
		case err != nil:
			return err
		case code == 'c':
			return nil
		case code == 't' || code == 'r' || code == 'y':
			return errReply
		}
	}
}

// packet reads a packet, and gives its first byte.
func (m *MTA) packet() (code byte, err error) {
	if err := m.fill(5); err != nil {
		return 0, err
	}
	code = m.have[4]
	left := 4 + int(binary.BigEndian.Uint32(m.have))
	for left > 0 {
		if err := m.fill(1); err != nil {
			return 0, err
		}
		n := min(left, len(m.have))
		m.have = m.have[n:]
		left -= n
	}
	return code, nil
}

// fill reads until there are n bytes.
func (m *MTA) fill(n int) error {
	if len(m.have) >= n {
		return nil
	}
	kept := copy(m.buf[:], m.have)
	read, err := io.ReadAtLeast(m.conn, m.buf[kept:], n-kept)
	m.have = m.buf[:kept+read]
	return err
}

// Packet gives a packet of the protocol.
func Packet(code byte, data string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(1+len(data))), code), data...)
}

// Join gives packets one behind the other.
func Join(packets ...[]byte) (all []byte) {
	for _, p := range packets {
		all = append(all, p...)
	}
	return all
}

// Packets of an ordinary mail, as Postfix sends them.
var (
	Connect  = Join(Packet('D', "Cj\x00mx.example.org\x00"), Packet('C', "client.example.org\x004\x9c\x40192.0.2.10\x00"))
	Helo     = Packet('H', "client.example.org\x00")
	Unknown  = Packet('U', "XYZZY\x00")
	MailFrom = Join(Packet('D', "Mi\x004XyZ1a2B3cz9sPf\x00"), Packet('M', "<sender@example.org>\x00SIZE=5000\x00"))
	RcptTo   = Packet('R', "<recipient@example.com>\x00")
	Data     = Packet('T', "")
	Header   = Packet('L', "Subject\x00The minutes of last week's meeting, and what is open\x00")
	EOH      = Packet('N', "")
	Segment  = Packet('B', string(make([]byte, 4096)))
	EOM      = Packet('E', "")
	Abort    = Packet('A', "")
	QuitNC   = Packet('K', "") // the connection is for another client now
)
