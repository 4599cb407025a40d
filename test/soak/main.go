// Command soak sends many mails, or large ones at the same time, to a filter that has Callbacks.Message, and shows what the
// filter's process holds meanwhile: memory, files, threads.
//
//	go run ./test/soak                        1,000,000 mails of 4 KB on 8 connections at a time
//	go run ./test/soak -conns 500 -n 500 -body 10000000 -hold
//
// It fails if the process holds more at the end than -slack allows over what it held after the first tenth; with -hold, if it
// holds more than -most over its start while all mails are open.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.serve, "serve", "", "be the filter, at this socket")
	flag.IntVar(&o.mails, "n", 1_000_000, "mails")
	flag.IntVar(&o.conns, "conns", 8, "connections at a time")
	flag.IntVar(&o.perConn, "per", 200, "mails on a connection")
	flag.IntVar(&o.body, "body", 4096, "bytes of a body")
	flag.BoolVar(&o.hold, "hold", false, "end no mail before all have been sent")
	flag.IntVar(&o.slack, "slack", 8, "MB of memory that may come on top after the first tenth")
	flag.IntVar(&o.most, "most", 250, "MB of memory that may come on top with -hold")
	flag.StringVar(&o.tempDir, "tempdir", "", "folder for large bodies")
	flag.Parse()
	if o.serve != "" {
		log.Fatal(o.filter())
	}
	if err := o.run(); err != nil {
		log.Fatal("soak: ", err)
	}
}

type options struct {
	serve, tempDir        string
	mails, conns, perConn int
	body, slack, most     int
	hold                  bool
}

// filter reads each mail to its end, and adds a field.
func (o *options) filter() error {
	srv := &milter.Server{Addr: "unix:" + o.serve, Actions: milter.SMFIF_ADDHDRS, TempDir: o.tempDir, Callbacks: milter.Callbacks{
		Message: func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
			sum := 0
			for _, b := range msg.Body {
				sum += int(b)
			}
			_ = msg.Header.Add("X-Sum", strconv.Itoa(sum))
			return milter.SMFIS_CONTINUE
		},
	}}
	return srv.ListenAndServe()
}

func (o *options) run() error {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "s")
	filter := exec.Command(self, "-serve", path, "-tempdir", o.tempDir)
	filter.Stdout, filter.Stderr = os.Stderr, os.Stderr
	filter.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := filter.Start(); err != nil {
		return err
	}
	defer func() { _ = filter.Process.Kill(); _ = filter.Wait() }()
	if err := o.warmUp(path); err != nil {
		return err
	}
	if o.hold {
		return o.runHeld(path, filter.Process.Pid)
	}
	return o.runMany(path, filter.Process.Pid)
}

// warmUp waits for the socket, and sends the first mails.
func (o *options) warmUp(path string) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Since(began) > 10*time.Second {
			return err
		}
	}
	small := *o
	small.body = 1000
	return small.connection(path, 20, nil)
}

// runMany sends the mails, and compares what is held at each tenth with the first.
func (o *options) runMany(path string, pid int) error {
	first, err := look(pid)
	if err != nil {
		return err
	}
	began := time.Now()
	for tenth := 1; tenth <= 10; tenth++ {
		if err := o.tenth(path); err != nil {
			return err
		}
		now, err := settled(pid, first)
		if err != nil {
			return err
		}
		fmt.Printf("%9d mails %6.0f/s  %v\n", o.mails/10*tenth, float64(o.mails/10*tenth)/time.Since(began).Seconds(), now)
		if tenth == 1 {
			first = now
		}
		if tenth == 10 {
			return now.compare(first, o.slack)
		}
	}
	return nil
}

func (o *options) tenth(path string) error {
	var left atomic.Int64
	left.Store(int64(o.mails / 10))
	errs := make(chan error, o.conns)
	for range o.conns {
		go func() {
			for {
				n := min(left.Add(-int64(o.perConn))+int64(o.perConn), int64(o.perConn))
				if n <= 0 {
					errs <- nil
					return
				}
				if err := o.connection(path, int(n), nil); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	var err error
	for range o.conns {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return err
}

// runHeld has all mails open at the same time.
func (o *options) runHeld(path string, pid int) error {
	before, err := look(pid)
	if err != nil {
		return err
	}
	fmt.Println("at start ", before)
	o.conns = o.mails
	var sent, ended sync.WaitGroup
	sent.Add(o.conns)
	end := make(chan struct{})
	errs := make(chan error, o.conns)
	for range o.conns {
		ended.Go(func() {
			errs <- o.connection(path, 1, func() { sent.Done(); <-end })
		})
	}
	sent.Wait()
	open, err := look(pid)
	if err != nil {
		return err
	}
	fmt.Println("all open ", open)
	close(end)
	peak := open
	done := make(chan struct{})
	go func() { ended.Wait(); close(done) }()
	for watching := true; watching; {
		select {
		case <-done:
			watching = false
		case <-time.After(10 * time.Millisecond):
			if now, err := look(pid); err == nil && now.rss > peak.rss {
				peak = now
			}
		}
	}
	for range o.conns {
		if e := <-errs; e != nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	fmt.Println("peak     ", peak)
	after, err := settled(pid, before)
	if err != nil {
		return err
	}
	fmt.Println("afterwards", after)
	if over := (peak.rss - before.rss) >> 20; over > o.most {
		return fmt.Errorf("%d MB over the start, more than %d", over, o.most)
	}
	if left := after.files - before.files - pollerFiles; left > 0 {
		return fmt.Errorf("%d files are left open", left)
	}
	return nil
}

// settled looks when the last connections are closed, and their threads gone.
func settled(pid int, before held) (now held, err error) {
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		now, err = look(pid)
		if err != nil || now.files <= before.files+pollerFiles {
			break
		}
	}
	return now, err
}

// connection sends mails on one connection. It calls atEnd before each end of message.
func (o *options) connection(path string, mails int, atEnd func()) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	in, out := bufio.NewReader(conn), bufio.NewWriterSize(conn, 1<<16)
	b := binary.BigEndian.AppendUint32(nil, 6)
	b = binary.BigEndian.AppendUint32(b, 0x1ff)
	b = binary.BigEndian.AppendUint32(b, 0x1fffff)
	packet(out, 'O', string(b))
	if err := out.Flush(); err != nil {
		return err
	}
	if _, err := answer(in); err != nil {
		return err
	}
	packet(out, 'C', "client.example.org\x004\x00\x19192.0.2.1\x00")
	packet(out, 'H', "client.example.org\x00")
	for range mails {
		o.mail(out)
		if atEnd != nil {
			if err := out.Flush(); err != nil {
				return err
			}
			atEnd()
		}
		packet(out, 'E', "")
		if err := out.Flush(); err != nil {
			return err
		}
		for code := byte('h'); code == 'h'; {
			if code, err = answer(in); err != nil {
				return err
			}
			if code != 'h' && code != 'c' {
				return fmt.Errorf("the filter has answered %q", code)
			}
		}
	}
	packet(out, 'Q', "")
	return out.Flush()
}

// mail sends a mail but for its end.
func (o *options) mail(out *bufio.Writer) {
	packet(out, 'M', "<a@example.org>\x00SIZE=4096\x00")
	packet(out, 'R', "<b@example.org>\x00")
	for i := range 10 {
		packet(out, 'L', fmt.Sprintf("X-Field-%d\x00 the value of a header field, of some length\x00", i))
	}
	for left := o.body; left > 0; left -= 65535 {
		packet(out, 'B', bodyText[:min(left, 65535)])
	}
}

var bodyText = strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 1425)

func packet(out *bufio.Writer, code byte, data string) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(1+len(data)))
	_, _ = out.Write(length[:])
	_ = out.WriteByte(code)
	_, _ = out.WriteString(data)
}

// answer reads a packet and gives its code.
func answer(in *bufio.Reader) (byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	_, err := in.Discard(int(binary.BigEndian.Uint32(head[:4])) - 1)
	return head[4], err
}

// pollerFiles are those that the Go runtime opens when it first has to wait.
const pollerFiles = 2

// held is what a process holds.
type held struct{ rss, files, threads int }

func (h held) String() string {
	return fmt.Sprintf("%7.1f MB, %4d files, %4d threads", float64(h.rss)/(1<<20), h.files, h.threads)
}

func (h held) compare(before held, slack int) error {
	if over := (h.rss - before.rss) >> 20; over > slack {
		return fmt.Errorf("%d MB more than after the first tenth", over)
	}
	if more := h.files - before.files - pollerFiles; more > 0 {
		return fmt.Errorf("%d files more than after the first tenth", more)
	}
	return nil
}

// look reads what a process holds from /proc.
func look(pid int) (h held, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		return h, err
	}
	threads, err := os.ReadDir(proc + "task")
	if err != nil {
		return h, err
	}
	statm, err := os.ReadFile(proc + "statm")
	if err != nil {
		return h, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	return held{pages * os.Getpagesize(), len(files), len(threads)}, err
}
