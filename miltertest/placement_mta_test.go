package miltertest

import (
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gomilter "github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// The same cases as in TestPlace, of which each is a mail that goes through the MTA itself.

func TestPlacementPostfix(t *testing.T) {
	// With SMTPUTF8, which net/smtp asks for, 8-bit fields would not reach the sink.
	params := map[string]string{"smtputf8_enable": "no"}
	s := postfix.Start(t, postfix.Config{Milters: startPlacementFilters(t), Params: params})
	sendPlacements(t, s.Addr())
	requirePlacements(t, KindPostfix, s.WaitDelivered(len(allPlacements())))
}

func TestPlacementSendmail(t *testing.T) {
	s := sendmail.Start(t, sendmail.Config{Milters: startPlacementFilters(t)})
	sendPlacements(t, s.Addr())
	requirePlacements(t, KindSendmail, s.WaitDelivered(len(allPlacements())))
}

// placementSender is the sender of the cases, which no header field has.
const placementSender = "envelope@example.com"

// sendPlacements sends the cases. The recipient tells which it is.
func sendPlacements(t *testing.T, addr string) {
	client, err := smtp.Dial(addr)
	require.NoError(t, err)
	defer client.Close()
	for i, p := range allPlacements() {
		require.NoError(t, client.Mail(placementSender), p.name)
		require.NoError(t, client.Rcpt(fmt.Sprintf("%d@example.org", i)), p.name)
		data, err := client.Data()
		require.NoError(t, err, p.name)
		_, err = io.WriteString(data, p.sent+"\nbody\n")
		require.NoError(t, err, p.name)
		require.NoError(t, data.Close(), p.name)
	}
	require.NoError(t, client.Quit())
}

// placementNumber gives the number of a case, which a recipient's address has before the @.
func placementNumber(rcpt string) (int, error) {
	number, _, _ := strings.Cut(strings.Trim(rcpt, "<>"), "@")
	return strconv.Atoi(number)
}

// ownFields are those that the MTAs add to the mails of sendPlacements.
var ownFields = regexp.MustCompile(`^Received: from .* by mail\.example\.org ` + // both
	`|^(Resent-)?Message-Id: .*@mail\.example\.org>|^(Resent-)?Date: [A-Z]|^From: .*` + placementSender) // Sendmail

// requirePlacements compares the mails that were delivered with the cases.
func requirePlacements(t *testing.T, kind Kind, mails []harness.Mail) {
	all := allPlacements()
	require.Len(t, mails, len(all))
	for _, mail := range mails {
		i, err := placementNumber(mail.Rcpts[0].Address)
		require.NoError(t, err)
		t.Run(all[i].name, func(t *testing.T) {
			fields := slices.DeleteFunc(mail.Header, func(field string) bool {
				return ownFields.MatchString(strings.Join(strings.Fields(field), " "))
			})
			assert.Equal(t, all[i].want(kind), parseHeader(fields).String())
		})
	}
}

// placementFilter makes the changes of one case, if it is of its kind.
type placementFilter struct {
	gomilter.NoOpMilter
	leadingSpace bool
	placement    placement
}

func (f *placementFilter) RcptTo(rcpt, _ string, _ gomilter.Modifier) (*gomilter.Response, error) {
	i, err := placementNumber(rcpt)
	if err != nil {
		return nil, err
	}
	f.placement = allPlacements()[i]
	return gomilter.RespContinue, nil
}

func (f *placementFilter) EndOfMessage(m gomilter.Modifier) (*gomilter.Response, error) {
	if f.placement.leadingSpace != f.leadingSpace {
		return gomilter.RespContinue, nil
	}
	for _, c := range f.placement.changes {
		var err error
		switch c.Op {
		case AddHeader:
			err = m.AddHeader(c.Name, c.Value)
		case InsertHeader:
			err = m.InsertHeader(c.Index, c.Name, c.Value)
		case ChangeHeader:
			err = m.ChangeHeader(c.Index, c.Name, c.Value)
		case ReplaceBody:
			err = m.ReplaceBodyRawChunk([]byte(c.Value))
		}
		if err != nil {
			return nil, err
		}
	}
	return gomilter.RespContinue, nil
}

// startPlacementFilters starts a filter for the cases without SMFIP_HDR_LEADSPC, and one for those with it. They serve until
// the test ends. It gives their addresses, which both MTAs write in the same way.
func startPlacementFilters(t *testing.T) []string {
	return []string{
		startPlacementFilter(t, false, 0),
		startPlacementFilter(t, true, gomilter.OptHeaderLeadingSpace),
	}
}

func startPlacementFilter(t *testing.T, leadingSpace bool, protocol gomilter.OptProtocol) string {
	path := filepath.Join(postfix.TempDir(t), "filter")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o666))
	server := gomilter.NewServer(
		gomilter.WithMilter(func() gomilter.Milter { return &placementFilter{leadingSpace: leadingSpace} }),
		gomilter.WithActions(gomilter.OptAddHeader|gomilter.OptChangeHeader|gomilter.OptChangeBody),
		gomilter.WithProtocols(protocol),
	)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		assert.NoError(t, <-served)
	})
	return "unix:" + path
}
