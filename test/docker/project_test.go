package docker

import (
	"fmt"
	"net"
	"net/smtp"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// projectName is one for all runs: the next one finds the images.
const projectName = "milter-test-compose"

// project is examples/compose under a name, a port and a delay of the test's own.
type project struct {
	t       *testing.T
	command []string
	env     []string
	smtp    string // host:port of Postfix
}

// composeCommand is Compose 2, Docker's plug-in, or else Compose 1.
func composeCommand(t *testing.T) []string {
	t.Helper()
	if _, err := try(nil, "docker", "compose", "version"); err == nil {
		return []string{"docker", "compose"}
	}
	_, err := exec.LookPath("docker-compose")
	require.NoError(t, err, "neither docker compose nor docker-compose is there: scripts/deps.sh docker installs one")
	return []string{"docker-compose"}
}

// startProject builds all images and starts all containers. When the test ends nothing is left of them but the images.
func startProject(t *testing.T, delay string) *project {
	t.Helper()
	port := freePort(t)
	p := &project{t: t, smtp: net.JoinHostPort("127.0.0.1", port)}
	p.env = []string{"SMTP_PORT=" + port, "GREYLIST_DELAY=" + delay}
	file, err := filepath.Abs(root + "/examples/compose/compose.yaml")
	require.NoError(t, err)
	p.command = append(composeCommand(t), "-p", projectName, "-f", file)

	p.compose("down", "-v", "--remove-orphans") // what a run that was killed has left
	p.requireNothingLeft()
	harness.StartGuard(t, t.TempDir(), `(shift; exec "$@") >/dev/null 2>&1`, append(p.command, "down", "-v", "-t", "1")...)
	t.Cleanup(p.down)
	p.compose("build")
	p.compose("up", "-d")
	require.True(t, harness.Poll(func() bool {
		client, err := smtp.Dial(p.smtp)
		if err == nil {
			_ = client.Quit()
		}
		return err == nil
	}), "Postfix does not answer")
	return p
}

// compose runs a command of Compose, which must succeed, and gives its output.
func (p *project) compose(args ...string) string {
	p.t.Helper()
	all := append(append([]string{}, p.command[1:]...), args...)
	out, err := try(p.env, p.command[0], all...)
	require.NoError(p.t, err, "%s %s:\n%s", p.command[0], strings.Join(all, " "), out)
	return out
}

// down shows what the containers have said if the test has failed, and removes everything.
func (p *project) down() {
	if p.t.Failed() {
		p.t.Log(p.compose("ps"), "\n", p.compose("logs", "--no-color", "--tail", "60"))
	}
	p.compose("down", "-v", "-t", "10")
	p.requireNothingLeft()
}

func (p *project) requireNothingLeft() {
	p.t.Helper()
	label := "label=com.docker.compose.project=" + projectName
	for _, list := range [][]string{{"ps", "-a"}, {"network", "ls"}, {"volume", "ls"}} {
		assert.Empty(p.t, docker(p.t, append(list, "-q", "--filter", label)...), "docker %v", list)
	}
}

// filters gives the containers of the filters that run.
func (p *project) filters() []string {
	p.t.Helper()
	return strings.Fields(docker(p.t, "ps", "-q", "--filter", "label=com.docker.compose.project="+projectName,
		"--filter", "label=com.docker.compose.service=filter"))
}

// greeted begins an SMTP session.
func (p *project) greeted() *smtp.Client {
	p.t.Helper()
	client, err := smtp.Dial(p.smtp)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = client.Close() })
	require.NoError(p.t, client.Hello("client.example.org"))
	return client
}

// aSender's mail is known to the filters once it was greylisted.
const aSender = "sender@example.org"

// envelope says who sends and who receives.
func envelope(client *smtp.Client, to string) error {
	if err := client.Mail(aSender); err != nil {
		return err
	}
	return client.Rcpt(to)
}

// data sends a mail whose subject is its token.
func data(client *smtp.Client, token string) error {
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "Subject: %s\r\n\r\nHello\r\n", token); err != nil {
		return err
	}
	return w.Close()
}

// send sends a mail in a session of its own. The error is the server's answer.
func (p *project) send(to, token string) error {
	client, err := smtp.Dial(p.smtp)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Hello("client.example.org"); err != nil {
		return err
	}
	if err := envelope(client, to); err != nil {
		return err
	}
	if err := data(client, token); err != nil {
		return err
	}
	return client.Quit()
}

// inbox is what Postfix has delivered.
func (p *project) inbox() string {
	p.t.Helper()
	return p.compose("exec", "-T", "postfix", "sh", "-c", "cat /var/mail/inbox 2>/dev/null || true") + "\n"
}

// missing gives the first of these mails that is not in the inbox, "" if all are.
func missing(inbox string, tokens []string) string {
	for _, token := range tokens {
		if !strings.Contains(inbox, subject(token)) {
			return token
		}
	}
	return ""
}

// subject is a mail's line in the inbox.
func subject(token string) string { return "\nSubject: " + token + "\n" }

// requireDelivered waits for mails to come, and requires that none came twice.
func (p *project) requireDelivered(tokens ...string) {
	p.t.Helper()
	require.True(p.t, harness.Poll(func() bool { return missing(p.inbox(), tokens) == "" }), "not delivered: %s", missing(p.inbox(), tokens))
	require.True(p.t, harness.Poll(func() bool {
		return strings.Contains(p.compose("exec", "-T", "postfix", "postqueue", "-p"), "Mail queue is empty")
	}), "mails are left in the queue")
	inbox := p.inbox()
	for _, token := range tokens {
		require.Equal(p.t, 1, strings.Count(inbox, subject(token)), token)
	}
}
