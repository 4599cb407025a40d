package docker

import (
	"fmt"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

const aRecipient = "you@example.com"

// TestCompose follows a mail through Postfix, HAProxy, the filters and Redis, and takes filters away meanwhile.
func TestCompose(t *testing.T) {
	const delay = 3 * time.Second
	p := startProject(t, delay.String())
	require.Len(t, p.filters(), 3)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *project)
	}{
		{"greylisted", func(t *testing.T, p *project) { testGreylisted(t, p, delay) }},
		{"known to all", testKnownToAll},
		{"filter drains", testFilterDrains},
		{"filter is killed", testFilterKilled},
		{"filters come back", testFiltersComeBack},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			own := *p
			own.t = t
			step.run(t, &own)
		}) {
			return
		}
	}
}

// requireReply requires that the server has refused something with this code.
func requireReply(t *testing.T, err error, code int, text string) {
	t.Helper()
	var reply *textproto.Error
	require.ErrorAs(t, err, &reply)
	require.Equal(t, code, reply.Code, reply.Msg)
	require.Contains(t, reply.Msg, text)
}

// testGreylisted sends a mail until it is accepted.
func testGreylisted(t *testing.T, p *project, delay time.Duration) {
	first := time.Now()
	requireReply(t, p.send(aRecipient, "first"), 451, "4.7.1 Greylisted: mail that is new here has to wait.")
	require.True(t, harness.Poll(func() bool {
		err := p.send(aRecipient, "first")
		if err != nil {
			requireReply(t, err, 451, "Greylisted")
			time.Sleep(delay / 10)
		}
		return err == nil
	}), "greylisted for ever")
	require.GreaterOrEqual(t, time.Since(first), delay)
	p.requireDelivered("first")

	requireReply(t, p.send("other@example.com", "other"), 451, "Greylisted")
	require.NotContains(t, p.inbox(), subject("other"))
}

// testKnownToAll opens sessions until each filter has had a mail of the sender that one of them has seen before.
func testKnownToAll(t *testing.T, p *project) {
	var all []*smtp.Client
	for _, filter := range p.filters() {
		require.True(t, harness.Poll(func() bool {
			client := p.greeted()
			all = append(all, client)
			require.NoError(t, envelope(client, aRecipient))
			return strings.Contains(docker(t, "logs", filter), `"msg":"known"`)
		}), "filter %s has never had a mail", filter)
	}
	for i, client := range all {
		require.NoError(t, data(client, fmt.Sprintf("known-%d", i)))
		require.NoError(t, client.Quit())
	}
}

// testFilterDrains stops a filter in the middle of mails. They come to their end, and so do those that come meanwhile.
func testFilterDrains(t *testing.T, p *project) {
	leaving := p.filters()[0]
	var tokens []string
	var open []*smtp.Client
	for i := range 9 { // leastconn: some on each
		client := p.greeted()
		require.NoError(t, envelope(client, aRecipient))
		open, tokens = append(open, client), append(tokens, fmt.Sprintf("open-%d", i))
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = try(nil, "docker", "stop", "-t", "40", leaving)
	}()
	require.True(t, harness.Poll(func() bool { return strings.Contains(docker(t, "logs", leaving), `"msg":"draining"`) }))
	require.NotContains(t, docker(t, "logs", leaving), `"msg":"draining","delay":"5s","sessions":0`, "no mail is open there")
	for i, until := 0, time.Now().Add(7*time.Second); time.Now().Before(until); i++ { // past -drain-delay
		token := fmt.Sprintf("meanwhile-%d", i)
		require.NoError(t, p.send(aRecipient, token))
		tokens = append(tokens, token)
		time.Sleep(200 * time.Millisecond)
	}
	require.True(t, inspect[bool](t, leaving, ".State.Running"), "it has not waited for its sessions")
	for i, client := range open {
		require.NoError(t, data(client, tokens[i]))
		require.NoError(t, client.Quit())
	}
	<-stopped
	require.Zero(t, inspect[int](t, leaving, ".State.ExitCode"))
	require.Contains(t, docker(t, "logs", leaving), `"msg":"stopped","cut_off":0`)
	p.requireDelivered(tokens...)
}

// testFilterKilled kills a filter that has mails open. Each mail is accepted, or told to come again and accepted then.
func testFilterKilled(t *testing.T, p *project) {
	require.Len(t, p.filters(), 2)
	var tokens []string
	var open []*smtp.Client
	for i := range 6 {
		client := p.greeted()
		require.NoError(t, envelope(client, aRecipient))
		open, tokens = append(open, client), append(tokens, fmt.Sprintf("torn-%d", i))
	}
	docker(t, "kill", p.filters()[0])
	torn := 0
	for i, client := range open {
		if err := data(client, tokens[i]); err != nil {
			requireReply(t, err, 451, "4.7.1")
			p.sendUntilAccepted(tokens[i])
			torn++
		}
	}
	require.Positive(t, torn, "no mail was open there")
	require.Less(t, torn, len(open), "all were")
	for i := range 20 {
		token := fmt.Sprintf("killed-%d", i)
		p.sendUntilAccepted(token)
		tokens = append(tokens, token)
	}
	p.requireDelivered(tokens...)
}

// sendUntilAccepted is a mail server's way with a mail that is told to come again.
func (p *project) sendUntilAccepted(token string) {
	p.t.Helper()
	require.True(p.t, harness.Poll(func() bool {
		err := p.send(aRecipient, token)
		if err != nil {
			requireReply(p.t, err, 451, "4.7.1")
		}
		return err == nil
	}), token)
}

// testFiltersComeBack has Compose replace what is missing.
func testFiltersComeBack(t *testing.T, p *project) {
	require.Len(t, p.filters(), 1)
	p.compose("up", "-d")
	for _, filter := range p.filters() {
		require.True(t, harness.Poll(func() bool {
			return inspect[string](t, filter, ".State.Health.Status") == "healthy"
		}))
	}
	require.Len(t, p.filters(), 3)
	require.NoError(t, p.send(aRecipient, "last"))
	p.requireDelivered("first", "last")
}
