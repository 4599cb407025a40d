package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startPatience is how long a filter may take until it listens.
const startPatience = 10 * time.Second

// process is a filter that runs.
type process struct {
	cmd    *exec.Cmd
	log    bytes.Buffer
	addr   string // as smfi_setconn has it
	socket string // of a unix socket
	ended  chan struct{}
}

// startFilter starts a filter and waits until it listens.
func startFilter(f filter, m model, network, bin, dir string) (*process, error) {
	p := &process{ended: make(chan struct{})}
	dial, err := p.choose(network, dir)
	if err != nil {
		return nil, err
	}
	p.cmd = f.command(bin, p.addr)
	p.cmd.Stderr = &p.log
	if m.library != "" && f.libmilter {
		p.cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+m.library)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // it is killed in the end
		close(p.ended)
	}()
	if err := p.await(dial); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w\n%s", f.Name, err, &p.log)
	}
	return p, nil
}

// choose gives the filter an address, and a way to see whether it listens.
func (p *process) choose(network, dir string) (dial func() (net.Conn, error), err error) {
	if network == "unix" {
		p.socket = filepath.Join(dir, "filter.sock")
		p.addr = "unix:" + p.socket
		return func() (net.Conn, error) { return net.Dial("unix", p.socket) }, nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	free := l.Addr().(*net.TCPAddr)
	p.addr = fmt.Sprintf("inet:%d@127.0.0.1", free.Port)
	return func() (net.Conn, error) { return net.Dial("tcp4", free.String()) }, l.Close()
}

func (p *process) await(dial func() (net.Conn, error)) error {
	for deadline := time.Now().Add(startPatience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.ended:
			return errors.New("the filter has ended")
		default:
		}
		if conn, err := dial(); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("the filter does not listen on %s", p.addr)
}

// stop ends the filter, without a word: libmilter can take seconds to stop.
func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	if p.socket != "" {
		_ = os.Remove(p.socket)
	}
}

// memory gives a size from /proc/PID/status in bytes: VmRSS is the memory that the filter has, VmHWM the most that it has had.
func (p *process) memory(key string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), key+":")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseFloat(kilobytes, 64)
	return n * 1024, err
}
