package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMessage(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		header    []field
		body      string
	}{
		{"empty", "", nil, ""},
		{"one empty line", "\r\n", nil, ""},
		{"no body", "A: 1\r\n", []field{{"A", " 1"}}, ""},
		{"no body, empty line", "A: 1\n\n", []field{{"A", " 1"}}, ""},
		{"no line end", "A: 1", []field{{"A", " 1"}}, ""},
		{"no header", "\nhello\n", nil, "hello\r\n"},
		{"no header, no empty line", "hello world\nA: 1\n", nil, "hello world\r\nA: 1\r\n"},
		{"no empty line before the body", "A: 1\nhello world\n", []field{{"A", " 1"}}, "hello world\r\n"},
		{"begins with a blank", " A: 1\n", nil, " A: 1\r\n"},
		{"CRLF", "A: 1\r\nB: 2\r\n\r\nx\r\n\r\ny\r\n", []field{{"A", " 1"}, {"B", " 2"}}, "x\r\n\r\ny\r\n"},
		{"mixed line ends", "A: 1\nB: 2\r\n\nx\r\ny\nz", []field{{"A", " 1"}, {"B", " 2"}}, "x\r\ny\r\nz\r\n"},
		{"lone CR is no line end", "A: 1\r2\n\nx\ry\n", []field{{"A", " 1\r2"}}, "x\ry\r\n"},
		{"folded", "A: 1\r\n\t2\n  3\r\nB: 4\n\n", []field{{"A", " 1\n\t2\n  3"}, {"B", " 4"}}, ""},
		{"folded over a blank line", "A: 1\n \n 2\n\n", []field{{"A", " 1\n \n 2"}}, ""},
		{"order and duplicates", "B:1\nA:2\nb:3\nB:1\n", []field{{"B", "1"}, {"A", "2"}, {"b", "3"}, {"B", "1"}}, ""},
		{"values byte for byte", "A:\nB:  two \nC:\tx:y\nD: \xe4\xff\n", []field{{"A", ""}, {"B", "  two "}, {"C", "\tx:y"}, {"D", " \xe4\xff"}}, ""},
		{"blank before the colon", "A : 1\n", []field{{"A", " 1"}}, ""},
		{"no name", ": 1\n", nil, ": 1\r\n"},
		{"8-bit name", "\xe4: 1\n", nil, "\xe4: 1\r\n"},
		{"NUL in the body", "\n\x00\n", nil, "\x00\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := parseMessage([]byte(tt.raw))
			require.NoError(t, err)
			assert.Equal(t, tt.header, m.header)
			assert.Equal(t, tt.body, string(m.body))
		})
	}
}

func TestParseMessageNUL(t *testing.T) {
	_, err := parseMessage([]byte("Subject: a\x00b\n\n"))
	assert.ErrorContains(t, err, "header field Subject holds a NUL byte")
}

func TestParseMessageKeepsItsInput(t *testing.T) {
	raw := []byte("A: 1\n\nx\nrest")[:8]
	_, err := parseMessage(raw)
	require.NoError(t, err)
	assert.Equal(t, "A: 1\n\nx\nrest", string(raw[:12]))
}

func TestEnvelopeOfMail(t *testing.T) {
	for _, tt := range []struct {
		name, header, sender, rcpts string
	}{
		{"no header", "", "sender@example.org", "rcpt@example.org"},
		{"From and To", "From: Accounts <a@example.org>\nTo: b@example.org,\n \"C, D\" <c@example.org>\n", "a@example.org", "b@example.org c@example.org"},
		{"Return-Path first", "From: a@example.org\nReturn-Path: <r@example.org>\n", "r@example.org", "rcpt@example.org"},
		{"null sender", "Return-Path: <>\nFrom: a@example.org\n", "", "rcpt@example.org"},
		{"unreadable", "From: nobody\nTo: undisclosed-recipients:;\n", "sender@example.org", "rcpt@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := parseMessage([]byte(tt.header))
			require.NoError(t, err)
			assert.Equal(t, tt.sender, m.sender())
			assert.Equal(t, tt.rcpts, strings.Join(m.recipients(), " "))
		})
	}
}
