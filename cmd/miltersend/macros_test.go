package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMacro(t *testing.T) {
	for in, want := range map[string]macroSetting{
		"i=Q1":                     {everyStage, "i", "Q1"},
		"{auth_type}=PLAIN":        {everyStage, "{auth_type}", "PLAIN"},
		"auth_type=PLAIN":          {everyStage, "{auth_type}", "PLAIN"},
		"x=a:b=c":                  {everyStage, "x", "a:b=c"},
		"x=":                       {everyStage, "x", ""},
		"rcpt:{rcpt_mailer}=local": {milter.StageRcpt, "{rcpt_mailer}", "local"},
		"eom:i=Q2":                 {milter.StageEOM, "i", "Q2"},
		"eoh:i=Q3":                 {milter.StageEOH, "i", "Q3"},
	} {
		t.Run(in, func(t *testing.T) {
			got, err := parseMacro(in)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	for in, want := range map[string]string{
		"":          "want name=value",
		"i":         "want name=value",
		"=x":        "want name=value",
		"rcpt:=x":   "want name=value",
		"later:i=x": `unknown stage "later"`,
	} {
		t.Run("bad "+in, func(t *testing.T) {
			_, err := parseMacro(in)
			assert.ErrorContains(t, err, want)
		})
	}
}

func TestMacros(t *testing.T) {
	macros := func(names ...string) func(milter.Modifier, string) string {
		return func(m milter.Modifier, step string) string {
			var b strings.Builder
			for _, name := range names {
				if value, ok := m.GetEx(name); ok {
					b.WriteString(" " + name + "=" + value)
				}
			}
			return b.String()
		}
	}
	for _, tt := range []struct {
		name  string
		names []string
		opts  []milter.Option
		args  []string
		want  []string
	}{
		{"client", []string{"j", "v", "{daemon_name}", "{client_name}", "{client_addr}", "{client_port}", "{client_ptr}"}, nil, nil, []string{
			"connect client.example.org tcp4 192.0.2.10 j=mx.example.org v=miltersend {daemon_name}=smtpd" +
				" {client_name}=client.example.org {client_addr}=192.0.2.10 {client_port}=40000 {client_ptr}=client.example.org"}},
		{"envelope", []string{"{mail_addr}", "{mail_host}", "{rcpt_addr}", "{rcpt_host}"}, nil, nil, []string{
			"helo client.example.org", "mail a@example.org {mail_addr}=a@example.org {mail_host}=example.org",
			"rcpt b@example.org {mail_addr}=a@example.org {mail_host}=example.org {rcpt_addr}=b@example.org {rcpt_host}=example.org"}},
		{"set", []string{"i", "{mail_host}", "{auth_type}", "{own}"}, nil,
			[]string{"-macro", "i=Q1", "-macro", "mail_host=h", "-macro", "auth_type=PLAIN", "-macro", "own=x"}, []string{
				"connect client.example.org tcp4 192.0.2.10 {own}=x", "helo client.example.org {own}=x",
				"mail a@example.org i=Q1 {mail_host}=h {auth_type}=PLAIN {own}=x"}},
		{"set by stage", []string{"{own}"}, nil, []string{"-macro", "mail:own=m", "-macro", "eom:own=e"}, []string{
			"helo client.example.org", "mail a@example.org {own}=m", "eoh {own}=m", "eom {own}=e"}},
		{"asked for by the filter", []string{"j", "{mail_addr}", "{mail_host}", "{rcpt_addr}"},
			[]milter.Option{milter.WithMacroRequest(milter.StageMail, []string{"{mail_addr}"})}, nil, []string{
				"helo client.example.org j=mx.example.org", "mail a@example.org j=mx.example.org {mail_addr}=a@example.org",
				"rcpt b@example.org j=mx.example.org {mail_addr}=a@example.org {rcpt_addr}=b@example.org"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{macros: macros(tt.names...)}
			got := sendMail(smallMail, f.serve(t, tt.opts...), tt.args...)
			assert.Zero(t, got.status, got.stderr)
			for _, want := range tt.want {
				assert.True(t, slices.Contains(f.seen(), want), "%q not in %q", want, f.seen())
			}
		})
	}
}
