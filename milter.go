//go:build cgo

package milter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is the one filter of this process: smfiDesc, smfi_setconn and the settings around them. libmilter keeps its
// state in the process, so one server can run, once: a second one gets ErrInUse, also after the first was stopped.
// (A server that could not start leaves room for another.)
//
// Its fields are read by ListenAndServe and must not be changed after that.
type Server struct {
	// Addr is smfi_setconn's argument: where the MTA finds the filter.
	//
	//	unix:/run/filter.sock, local:/run/filter.sock   a unix socket, of at most 106 bytes of path on Linux;
	//	                                                a path alone means the same, but what looks like a
	//	                                                host or a port needs a slash: unix:./8890
	//	inet:8890@127.0.0.1, inet:8890                  a TCP port, on one IPv4 address (or host name) or on all
	//	inet6:8890@[::1]                                the same with IPv6
	//	fd:3                                            a listening socket that was inherited, where libmilter has it
	//	                                                (Debian's and Ubuntu's; upstream's has not)
	Addr string

	// Name is xxfi_name: what libmilter calls the filter in syslog. The default is "node-bindings".
	Name string

	// Actions is xxfi_flags: the changes that the filter may make. libmilter closes the connection of an MTA that does not
	// allow one of them; Logger says so once. Callbacks.Negotiate, if set, asks for actions itself.
	Actions Action

	// Protocol are SMFIP_* bits to ask for beyond the SMFIP_NO* bits that nil callbacks imply. A bit that the MTA does not
	// offer is not asked for; Session.Negotiated tells. Where Callbacks.Negotiate is set, Negotiation.Protocol is preset with
	// them, and SMFIS_ALL_OPTS leaves them out. A step named by an SMFIP_NR_* bit is never answered: what its
	// callback returns is dropped, and logged once if it is not SMFIS_NOREPLY.
	Protocol Protocol

	// Macros is smfi_setsymlist for every connection: the macros that the MTA is to send at each stage, in place of those
	// that it would send by itself, "i" or "{client_addr}". An MTA without SMFIF_SETSYMLIST is not asked;
	// Actions need not have it. With Callbacks.Message, "v", "p" and "{daemon_addr}" are asked for besides, see Header.
	Macros map[Stage][]string

	// Callbacks are the filter.
	Callbacks Callbacks

	// Timeout is smfi_settimeout: how long libmilter waits for the MTA, in whole seconds (a part of one counts as one).
	// 0 is libmilter's own, 7,210 seconds. Where libmilter has a pool of workers, it looks for MTAs that say nothing
	// between two commands every ten minutes only.
	Timeout time.Duration

	// Backlog is smfi_setbacklog: how many connections may wait to be accepted. 0 is libmilter's own, SOMAXCONN.
	Backlog int

	// MaxDataSize is smfi_setmaxdatasize: the longest packet, in bytes, that libmilter takes from the MTA or sends to it.
	// 0 is libmilter's own, 65,535, which is what MTAs send of a body at a time; less than 12 leaves no room to negotiate.
	MaxDataSize int

	// Debug is smfi_setdbg: 0, nothing, to 6. libmilter writes to standard output, which must be
	// open then. The unix socket that syslog sees it open is not Addr's: it is given that one when
	// it listens already.
	Debug int

	// RemoveSocket is smfi_opensocket's argument: remove a unix socket that is at Addr and that
	// nobody answers on. Of servers that start on it at once one runs, and the others get ErrInUse,
	// if each may lock its folder (flock, which needs the right to read it).
	RemoveSocket bool

	// SocketMode are the permissions of the unix socket, 0o660 for instance, from its first moment.
	// 0 leaves them to the umask. An MTA needs to be allowed to write to the socket.
	SocketMode fs.FileMode

	// MaxBody is how many bytes of a body Message is given: no C function. 0 is 100 MiB. An MTA that has SMFIP_SKIP stops
	// sending there if MaxBody was set, for which it has to wait for an answer to each piece; otherwise it sends all, and
	// the rest is dropped. NoBody: Message reads no body, and the MTA sends none. A body that was not seen whole
	// (Message.Truncated, NoBody) must not be replaced by what was seen of it: that cuts the mail.
	MaxBody int64

	// TempDir is where bodies over 256 KiB are kept for Message, in files that have no name: no C
	// function. "" is os.TempDir's. A folder in memory (tmpfs) holds them in memory. ListenAndServe
	// fails with the system's error if a file cannot be made and written there, unless MaxBody is
	// at most 256 KiB.
	TempDir string

	// Limits bound what is collected for Message: no C function.
	Limits Limits

	// KeepGOMAXPROCS leaves runtime.GOMAXPROCS as it is: no C function. Otherwise a server that runs raises it to 16, if it
	// is less and the environment variable GOMAXPROCS is not set, and takes that back when it stops. A thread of libmilter's
	// that returns from a callback keeps a place in Go's scheduler (a P) for a while; when there are more such threads than
	// places, the next callback waits for one, up to 10 ms. The places do not make more threads run at a time than there are
	// processors, but a program that computes much in goroutines of its own beside the filter may want its old number.
	KeepGOMAXPROCS bool

	// Logger gets what the library has to say: panics and wrong statuses, with the session and, if known, the queue id.
	// nil is slog.Default. (libmilter itself writes to syslog.)
	Logger *slog.Logger

	host      bool // see guest.go
	mu        sync.Mutex
	filter    *filter
	socket    *socket
	closing   bool          // Shutdown or Close was called
	forced    chan struct{} // closed by Close, for a Shutdown that waits
	forceOnce sync.Once
	served    chan struct{} // closed when smfi_main has returned
	stopOnce  sync.Once
	cutOff    int
}

// Stats are a server's figures since it started.
type Stats struct {
	SessionsOpen   int64 // sessions that are open now
	SessionsTotal  int64 // sessions that have begun, connections that said nothing included
	SessionsCutOff int64 // sessions that Shutdown or Close cut off
	Messages       int64 // mails that have come to their end (xxfi_eom)
	Callbacks      int64 // callbacks that libmilter has made
	Panics         int64 // callbacks that panicked or called runtime.Goexit
	BadStatuses    int64 // callbacks that returned what is no status
}

// process is libmilter's life in this process.
var process struct {
	mu      sync.Mutex
	owner   *Server // the server that starts or runs
	stopped bool    // smfi_stop was called: libmilter never runs again
}

// ListenAndServe is Server.ListenAndServe for a server with these three fields.
func ListenAndServe(addr string, actions Action, cb Callbacks) error {
	srv := &Server{Addr: addr, Actions: actions, Callbacks: cb}
	return srv.ListenAndServe()
}

// ListenAndServe is smfi_register, smfi_setconn, smfi_opensocket and smfi_main: it serves the MTA until Shutdown or
// Close has stopped libmilter, and then returns ErrServerClosed, perhaps a moment before Shutdown itself: a program that
// wants Shutdown's error waits for it.
//
// It returns at once, with the reason, if the server cannot start: ErrArgument for a field that is wrong, ErrInUse for
// libmilter or an address that is in use, the system's own error (errors.Is finds fs.ErrNotExist, fs.ErrPermission,
// syscall.EADDRINUSE, …) for an address that cannot be opened.
//
// Source: smfi_register.html, smfi_setconn.html, smfi_opensocket.html, smfi_main.html.
func (srv *Server) ListenAndServe() error {
	if err := srv.check(); err != nil {
		return err
	}
	if err := srv.claim(); err != nil {
		return err
	}
	if err := srv.start(); err != nil {
		srv.unclaim()
		return err
	}
	return srv.serve()
}

// check looks at the fields.
func (srv *Server) check() error {
	wrong := func(format string, args ...any) error {
		return &Error{"smfi_register", fmt.Errorf("%w: "+format, append([]any{ErrArgument}, args...)...)}
	}
	switch {
	case checkText("Name", srv.Name) != nil:
		return wrong("Name %q", srv.Name)
	case srv.Timeout < 0 || srv.Timeout > math.MaxInt32/1000*time.Second: // libmilter counts milliseconds in an int
		return wrong("Timeout %v", srv.Timeout)
	case srv.Backlog < 0 || srv.Backlog > math.MaxInt32:
		return wrong("Backlog %d", srv.Backlog)
	case srv.MaxDataSize != 0 && srv.MaxDataSize < optLen || srv.MaxDataSize > math.MaxInt32:
		return wrong("MaxDataSize %d", srv.MaxDataSize)
	case srv.Debug < 0 || srv.Debug > 6:
		return wrong("Debug %d is not 0 to 6", srv.Debug)
	case srv.SocketMode&^fs.ModePerm != 0:
		return wrong("SocketMode %v has more than permissions", srv.SocketMode)
	case srv.Callbacks.EOM != nil && srv.Callbacks.Message != nil:
		return wrong("Callbacks has EOM and Message, which both are the end of a message")
	case srv.MaxBody < NoBody:
		return wrong("MaxBody %d", srv.MaxBody)
	case srv.Limits.wrong() != "":
		return wrong("Limits.%s is below 0", srv.Limits.wrong())
	case strings.Contains(srv.TempDir, "\x00"):
		return wrong("TempDir %q", srv.TempDir)
	}
	if srv.Debug > 0 {
		var stat syscall.Stat_t
		if err := syscall.Fstat(1, &stat); err != nil { // C's standard output, whatever os.Stdout is
			return wrong("Debug needs standard output: %w", err)
		}
	}
	for stage, macros := range srv.Macros {
		if _, err := symList(macros); err != nil {
			return &Error{"smfi_setsymlist", err}
		}
		if stage < SMFIM_CONNECT || stage > SMFIM_EOH {
			return &Error{"smfi_setsymlist", fmt.Errorf("%w: there is no %v", ErrArgument, stage)}
		}
	}
	if err := srv.checkTempDir(); err != nil {
		return &Error{"smfi_register", err}
	}
	return nil
}

// claim makes libmilter this server's.
func (srv *Server) claim() error {
	srv.mu.Lock()
	closing := srv.closing
	srv.mu.Unlock()
	process.mu.Lock()
	defer process.mu.Unlock()
	const again = "libmilter was stopped and cannot run again in this process, start a new one"
	switch {
	case process.stopped && closing:
		return &Error{"smfi_main", fmt.Errorf("%w: %s: %w", ErrInUse, again, ErrServerClosed)}
	case process.stopped:
		return &Error{"smfi_main", fmt.Errorf("%w: %s", ErrInUse, again)}
	case closing:
		return ErrServerClosed
	case process.owner != nil:
		return &Error{"smfi_register", fmt.Errorf("%w: libmilter has one server for each process, and another one runs in this", ErrInUse)}
	}
	process.owner = srv
	return nil
}

// stopProcess notes that libmilter is about to be stopped, for good.
func stopProcess() {
	process.mu.Lock()
	process.stopped = true
	process.mu.Unlock()
}

func (srv *Server) unclaim() {
	process.mu.Lock()
	process.owner = nil
	process.mu.Unlock()
}

// start does all that can fail: after it the socket is open and libmilter set.
func (srv *Server) start() error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing {
		return ErrServerClosed
	}
	addr, err := parseAddress(srv.Addr)
	if err != nil {
		return &Error{"smfi_setconn", err}
	}
	if err := makePoller(); err != nil {
		return &Error{"smfi_opensocket", err}
	}
	name := cmp.Or(srv.Name, "node-bindings")
	if err := smfiRegister(name, srv.Actions, srv.registered()); err != nil {
		return &Error{"smfi_register", err}
	}
	backlog := cmp.Or(srv.Backlog, defaultBacklog)
	if err := smfiSetbacklog(backlog); err != nil {
		return &Error{"smfi_setbacklog", err}
	}
	smfiSetdbg(srv.Debug)
	srv.socket, err = openSocket(addr, srv.RemoveSocket, srv.SocketMode, backlog)
	if err != nil {
		return &Error{"smfi_opensocket", err}
	}
	if srv.Timeout > 0 {
		smfiSettimeout(int((srv.Timeout + time.Second - 1) / time.Second))
	}
	srv.filter = newFilter(srv)
	srv.filter.maxDataSize = setMaxDataSize(srv.MaxDataSize)
	srv.forced = make(chan struct{})
	srv.served = make(chan struct{})
	running.Store(srv.filter)
	return nil
}

// setMaxDataSize sets the size, if it is not 0, and gives the one in force.
func setMaxDataSize(size int) int {
	old := smfiSetmaxdatasize(size)
	if size != 0 {
		return size
	}
	smfiSetmaxdatasize(old)
	return old
}

// serve runs smfi_main to its end.
func (srv *Server) serve() error {
	defer srv.raiseProcs()()
	var err error
	go offMainThread(func() {
		err = smfiMain()
		close(srv.served)
	})
	<-srv.served

	srv.mu.Lock()
	closing := srv.closing
	srv.closing = true
	srv.mu.Unlock()
	srv.stop() // for a libmilter that stopped by itself: nothing is left to serve
	if closing {
		return ErrServerClosed
	}
	if err == nil {
		err = errors.New("libmilter was stopped by somebody else: smfi_stop was called, or a signal reached its thread")
	}
	return &Error{"smfi_main", err}
}

// offMainThread runs f on an OS thread of its own that is not the process's first. smfi_main blocks SIGHUP, SIGTERM and
// SIGINT on its thread for good, and the first is where the kernel looks first for somebody to take a signal (see also
// sigwait.c). The thread ends with f, for its signal mask is not what Go's threads have.
func offMainThread(f func()) {
	runtime.LockOSThread()
	if !onMainThread() {
		f()
		return // locked, which ends the thread
	}
	elsewhere := make(chan struct{}) // this goroutine stays on the main thread until the other one has its own
	go offMainThread(func() {
		close(elsewhere)
		f()
	})
	<-elsewhere
	runtime.UnlockOSThread()
}

// Shutdown is smfi_stop, after the sessions that are open: it lets no new ones in (a unix socket is removed at once; on
// TCP an MTA that connects is refused at negotiation), waits until those that are open have ended or ctx has, and stops
// libmilter. ListenAndServe then returns ErrServerClosed. Sessions still open are cut off: their contexts end, their
// callbacks come no more (Close neither), and the MTA gets no reply, which it takes as its milter_default_action or F=
// says, or SMFIS_TEMPFAIL where libmilter has a thread for each connection. The error says how many there were, and
// errors.Is finds ctx's own.
//
// An idle server stops within milliseconds; on a busy machine libmilter may take a second. Shutdown of a server that is
// not running keeps it from starting. Called again, it waits for the same end.
//
// Source: smfi_stop.html.
func (srv *Server) Shutdown(ctx context.Context) error {
	if !srv.close() {
		return nil
	}
	srv.refuse()
	srv.drain(ctx)
	srv.stop()
	if srv.cutOff == 0 {
		return nil
	}
	why := ctx.Err()
	switch cause := context.Cause(ctx); {
	case why == nil:
		why = ErrServerClosed // by Close
	case cause != why:
		why = fmt.Errorf("%w: %w", why, cause)
	}
	sessions := "sessions"
	if srv.cutOff == 1 {
		sessions = "session"
	}
	return &Error{"smfi_stop", fmt.Errorf("%d %s cut off: %w", srv.cutOff, sessions, why)}
}

// drain waits until no session is open, and stops the filter then, or until it is told not to wait any longer.
func (srv *Server) drain(ctx context.Context) {
	for {
		select {
		case <-srv.filter.drain():
			if srv.filter.stopIdle() {
				return
			}
		case <-srv.forced:
			return
		case <-srv.served:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Close is smfi_stop at once: what Shutdown does with a context that has ended. Stats says how many sessions were cut
// off.
//
// Source: smfi_stop.html.
func (srv *Server) Close() error {
	if !srv.close() {
		return nil
	}
	srv.forceOnce.Do(func() { close(srv.forced) })
	srv.refuse()
	srv.stop()
	return nil
}

// close marks the server as closed, and tells whether there is anything to stop.
func (srv *Server) close() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.closing = true
	return srv.filter != nil
}

// refuse lets no new connections in. What has connected to a unix socket before it was removed is served.
func (srv *Server) refuse() {
	if srv.socket != nil && srv.socket.unix != nil {
		srv.socket.unix.unlink()
		return
	}
	srv.filter.phase.CompareAndSwap(phaseServing, phaseRefusing)
}

// stop ends the filter and libmilter, once; whoever else calls it waits until that is done.
func (srv *Server) stop() {
	srv.stopOnce.Do(func() {
		if srv.filter.guest { // libmilter is its host's
			srv.cutOff = srv.filter.stop()
			return
		}
		stopProcess()
		srv.cutOff = srv.filter.stop()
		srv.stopLibmilter()
		srv.socket.close()
	})
}

// stopLibmilter is smfi_stop without its wait. libmilter looks every five seconds whether it is to stop, and when
// somebody connects, so somebody connects.
func (srv *Server) stopLibmilter() {
	if srv.awaitAccept() {
		return
	}
	// A pool of workers that is awake sees the stop before the listener does, which then cannot start a session for who
	// connects below, and sleeps for a second. It needs a moment to settle after the connection above.
	time.Sleep(5 * time.Millisecond)
	stopped := make(chan struct{})
	go func() {
		smfiStop()
		close(stopped)
	}()
	for {
		if conn, err := srv.socket.dial(); err == nil {
			_ = conn.Close()
		}
		select {
		case <-stopped:
			<-srv.served
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// awaitAccept waits until smfi_main accepts connections, if it has only just started: smfi_stop before that is undone by
// what smfi_main does first. It tells whether smfi_main has returned by itself.
func (srv *Server) awaitAccept() (returned bool) {
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		conn, err := srv.socket.dial()
		if err != nil { // the way to the socket is barred: give smfi_main time enough
			time.Sleep(dialTimeout)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(dialTimeout))
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = conn.Read(make([]byte, 1)) // libmilter has accepted the connection, seen its end, and closed it
	}()
	select {
	case <-srv.served:
		return true
	case <-accepted:
	}
	select {
	case <-srv.served:
		return true
	default:
		return false
	}
}

// Stats gives the server's figures, all 0 before it has started. It may be called at any time.
func (srv *Server) Stats() Stats {
	srv.mu.Lock()
	f := srv.filter
	srv.mu.Unlock()
	if f == nil {
		return Stats{}
	}
	return Stats{
		SessionsOpen:   int64(f.open()),
		SessionsTotal:  f.stats.sessions.Load(),
		SessionsCutOff: f.stats.cutOff.Load(),
		Messages:       f.stats.messages.Load(),
		Callbacks:      f.stats.callbacks.Load(),
		Panics:         f.stats.panics.Load(),
		BadStatuses:    f.stats.badStatuses.Load(),
	}
}
