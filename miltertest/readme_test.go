package miltertest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// callbacks are those of the README's filter.
var callbacks = milter.Callbacks{
	RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
		if (milter.Path{Address: address}).Is("sales@example.com") { // however the client spells it
			return s.Reply(550, "5.7.1", "We do not take mail for sales any more.")
		}
		return milter.SMFIS_CONTINUE
	},
	EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
		if err := m.AddHeader("X-Filtered", "yes"); err != nil {
			return milter.SMFIS_TEMPFAIL
		}
		return milter.SMFIS_CONTINUE
	},
}

func TestSales(t *testing.T) {
	f := miltertest.Start(t, milter.SMFIF_ADDHDRS, callbacks)

	result := f.Send(miltertest.Mail{To: []string{"sales@example.com"}})
	require.Equal(t, milter.SMFIS_REJECT, result.Verdict)
	require.Equal(t, 550, result.Reply.Code)

	result = f.Send(miltertest.Mail{To: []string{"you@example.com"}, Data: "Subject: Hello\n\nHow are you?\n"})
	require.Equal(t, "Subject: Hello\nX-Filtered: yes\n", result.Header.String())
}

// The README's filter is not passed by another spelling of the address that it refuses.
func TestSalesInAllSpellings(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_ADDHDRS, callbacks)
	for _, spelling := range []string{"<sales@example.com>", "<Sales@Example.COM>", "<@relay.example.org:sales@example.com>",
		`<"sales"@example.com>`, "<sales@example.com.>", "<sales(shop)@example.com>"} {
		require.Equal(t, milter.SMFIS_REJECT, f.Send(miltertest.Mail{To: []string{spelling}}).Verdict, spelling)
	}
}

// The README's test is the one above.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	source, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	_, test, _ := strings.Cut(string(source), "func TestSales")
	test, _, _ = strings.Cut(test, "\n}\n")
	require.Contains(t, string(readme), "```go\nfunc TestSales"+test+"\n}\n```\n")
}
