package micro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

// AllActions are the changes that the filters of the benchmarks may make, and NoReplies the protocol bits for no answer to
// any step but the end of message: what is measured is then the library, not the way to the MTA and back.
const (
	AllActions = milter.SMFIF_ADDHDRS | milter.SMFIF_CHGBODY | milter.SMFIF_ADDRCPT | milter.SMFIF_DELRCPT | milter.SMFIF_CHGHDRS |
		milter.SMFIF_QUARANTINE | milter.SMFIF_CHGFROM | milter.SMFIF_ADDRCPT_PAR
	NoReplies = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_MAIL | milter.SMFIP_NR_RCPT | milter.SMFIP_NR_DATA |
		milter.SMFIP_NR_UNKN | milter.SMFIP_NR_HDR | milter.SMFIP_NR_EOH | milter.SMFIP_NR_BODY
)

const patience = 10 * time.Second

// Serve runs a filter while f runs, and gives f the path of its socket.
func Serve(cb milter.Callbacks, f func(path string) int) (code int, err error) {
	dir, err := os.MkdirTemp("", "milter-micro")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "filter.sock")
	srv := &milter.Server{Addr: "unix:" + path, Actions: AllActions, Protocol: NoReplies, Callbacks: cb}
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe() }()
	if err := await(path, served); err != nil {
		return 1, err
	}
	code = f(path)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return code, srv.Shutdown(ctx)
}

// await waits until the filter listens.
func await(path string, served <-chan error) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		select {
		case err := <-served:
			return fmt.Errorf("the filter has ended: %w", err)
		default:
		}
		if conn, err := net.Dial("unix", path); err == nil {
			return conn.Close()
		}
	}
	return errors.New("the filter does not listen")
}
