//go:build cgo

package mta

import (
	"slices"
	"strings"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// The groups are the document's sections.
const (
	given      = "What callbacks are given"
	replies    = "Replies"
	texts      = "Replies that are not plain"
	modifiers  = "Changes"
	local      = "Mail that does not come by SMTP"
	recipients = "Recipients, as the client and the filter spell them"
	protocol   = "Negotiation"
	failures   = "Slow, broken and missing filters"
)

// text is a mail with what MTAs would add.
const text = "From: <sender@example.com>\nTo: <one@example.org>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n" +
	"Message-Id: <1@example.com>\nSubject: a test\n\nbody\n"

// plain is an ordinary mail.
var plain = mail{"<sender@example.com>", []string{"<one@example.org>"}, text}

// sends is the act of a client that sends a mail.
func sends(m mail) func(r *run) {
	return func(r *run) {
		r.deliver(m)
		r.quit()
	}
}

// with is a mail with fields in front of its others.
func with(fields string) mail {
	m := plain
	m.text = fields + m.text
	return m
}

// to is a mail to these recipients.
func to(rcpts ...string) mail {
	m := plain
	m.rcpts = rcpts
	return m
}

// The mail of the cases that are about header fields, and what it has of them when it is delivered.
var fielded = with("X-First: 1\nX-Twice: one\nX-Middle: 1\nX-Twice: two\nX-Folded: a\n\tb\n")

// features are all cases.
var features = slices.Concat(givenFeatures, macroFeatures, replyFeatures(), textFeatures(), codeFeatures, changeFeatures, recipientSpellings(), recipientSequences, localFeatures(), protocolFeatures, failureFeatures)

var givenFeatures = []feature{
	{
		group: given, name: "every callback of a mail, in its order",
		acts: sends(plain), see: []view{steps},
		want: []string{"connect, helo, mailfrom, rcptto, data, header, eoh, segment, eom, close"},
	}, {
		group: given, name: "client's address, IPv4",
		acts: sends(plain), see: []view{clientAddress},
		want: []string{`"TCP 127.0.0.1"`},
	}, {
		group: given, name: "client's address, IPv6", ipv6: true,
		acts: sends(plain), see: []view{clientAddress},
		want: []string{`"TCP ::1"`},
	}, {
		group: given, name: "HELO",
		acts: func(r *run) { r.conversation("HELO old.example.org", "QUIT") }, see: []view{events("helo")},
		want: []string{`helo "old.example.org"`},
	}, {
		group: given, name: "ESMTP arguments of MAIL",
		acts: sends(mail{"<sender@example.com> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=x1", plain.rcpts, text}), see: []view{events("mailfrom")},
		want: []string{`mailfrom "<sender@example.com>" "SIZE=1000" "BODY=8BITMIME" "RET=HDRS" "ENVID=x1"`},
	}, {
		group: given, name: "ESMTP arguments of RCPT",
		acts: sends(to("<one@example.org> NOTIFY=NEVER ORCPT=rfc822;a@example.org", "<two@example.org> NOTIFY=FAILURE,DELAY")), see: []view{events("rcptto")},
		want: []string{
			`rcptto "<one@example.org>" "NOTIFY=NEVER" "ORCPT=rfc822;a@example.org"`,
			`rcptto "<two@example.org>" "NOTIFY=FAILURE,DELAY"`,
		},
	}, {
		group: given, name: "null sender",
		acts: sends(mail{"<>", plain.rcpts, text}), see: []view{events("mailfrom"), deliveries},
		want: []string{`mailfrom "<>"`, "delivered once"},
	}, {
		group: given, name: "addresses without angle brackets",
		acts: sends(mail{"sender@example.com", []string{"one@example.org"}, text}), see: []view{refusals, events("mailfrom", "rcptto")},
		want: []string{`mailfrom "sender@example.com"`, `rcptto "one@example.org"`},
	}, {
		group: given, name: "quoted local part",
		acts: sends(mail{`<"a b"@example.com>`, []string{`<"x> y"@example.org>`}, text}), see: []view{events("mailfrom", "rcptto")},
		want: []string{`mailfrom "<\"a b\"@example.com>"`, `rcptto "<\"x> y\"@example.org>"`},
	}, {
		group: given, name: "SMTPUTF8", varies: true, kept: 1, // which the sink could not be given
		filter: script{Says: map[string]answer{"eom": {Status: milter.SMFIS_DISCARD}}},
		acts:   sends(mail{"<jos\u00e9@example.com> SMTPUTF8", []string{"<gr\u00fc\u00dfe@example.org>"}, "Subject: \u00e9\n" + text}),
		see:    []view{refusals, events("mailfrom", "rcptto"), fields("Subject")},
		want: []string{
			"mailfrom \"<jos\u00e9@example.com>\" \"SMTPUTF8\"", "rcptto \"<gr\u00fc\u00dfe@example.org>\"",
			"header \"Subject\" \"\u00e9\"", `header "Subject" "a test"`,
		},
	}, {
		group: given, name: "8-bit header and body",
		acts: sends(mail{"<sender@example.com> BODY=8BITMIME", plain.rcpts, "X-Test: caf\xe9\n" + text + "\xff\x80\n"}),
		see:  []view{fields("X-Test"), events("segment"), deliveries},
		want: []string{`header "X-Test" "caf\xe9"`, `segment "body\r\n\xff\x80\r\n"`, "delivered once"},
	}, {
		group: given, name: "header fields: folded, empty, odd spaces",
		acts: sends(with("X-Test: a\n\tb\n  c\nX-Test:\nX-Test:  two\nX-Test:none\nX-Test: end \n")), see: []view{fields("X-Test")},
		want: []string{
			`header "X-Test" "a\n\tb\n  c"`, `header "X-Test" ""`, `header "X-Test" " two"`,
			`header "X-Test" "none"`, `header "X-Test" "end "`,
		},
	}, {
		group: given, name: "body of 200,000 bytes, in segments",
		acts: sends(mail{plain.from, plain.rcpts, strings.TrimSuffix(text, "body\n") + strings.Repeat("0123456789abcd\n", 12500)}),
		see:  []view{events("segment"), deliveries, body},
		want: []string{`segment "65535 bytes"`, `segment "65535 bytes"`, `segment "65535 bytes"`, `segment "3395 bytes"`, "delivered once", "200000 bytes"},
	}, {
		group: given, name: "dots at the beginning of lines",
		acts: sends(mail{plain.from, plain.rcpts, text + ".\n..two\n"}), see: []view{events("segment"), body},
		want: []string{`segment "body\r\n.\r\n..two\r\n"`, `"body\r\n.\r\n..two\r\n"`},
	}, {
		group: given, name: "mail without a body",
		acts: sends(mail{plain.from, plain.rcpts, strings.TrimSuffix(text, "\nbody\n")}), see: []view{steps, deliveries},
		want: []string{"connect, helo, mailfrom, rcptto, data, header, eoh, eom, close", "delivered once"},
	}, {
		group: given, name: "pipelining",
		acts: func(r *run) {
			r.conversation("EHLO client.example.org")
			r.pipeline("MAIL FROM:<sender@example.com>", "RCPT TO:<one@example.org>", "RCPT TO:<two@example.org>", "DATA")
			r.message(text)
			r.take("message")
			r.quit()
		},
		see:  []view{events("mailfrom", "rcptto", "data", "eom"), deliveries},
		want: []string{`mailfrom "<sender@example.com>"`, `rcptto "<one@example.org>"`, `rcptto "<two@example.org>"`, "data", "eom", "delivered once"},
	}, {
		group: given, name: "unknown command, with arguments", varies: true,
		acts: func(r *run) { r.conversation("EHLO client.example.org", "FOO bar baz", "QUIT") }, see: []view{events("unknown"), refusals},
		want: []string{`unknown "FOO bar baz"`, "FOO: 500 5.5.1 Command unrecognized: \"FOO bar baz\""},
	}, {
		group: given, name: "RSET in mid-mail, then a mail",
		acts: func(r *run) {
			r.conversation("EHLO client.example.org", "MAIL FROM:<first@example.com>", "RCPT TO:<one@example.org>", "RSET")
			sends(plain)(r)
		},
		see:  []view{steps, deliveries},
		want: []string{"connect, helo, mailfrom, rcptto, abort, helo, mailfrom, rcptto, data, header, eoh, segment, eom, close", "delivered once"},
	}, {
		group: given, name: "RSET with no mail begun",
		acts: func(r *run) { r.conversation("EHLO client.example.org", "RSET", "QUIT") }, see: []view{steps},
		want: []string{"connect, helo, close"},
	}, {
		group: given, name: "two mails on a connection",
		acts: func(r *run) {
			r.deliver(plain)
			r.conversation("MAIL FROM:<second@example.com>", "RCPT TO:<two@example.org>", "DATA")
			r.message(text)
			r.take("message")
			r.quit()
		},
		see: []view{steps, deliveries},
		want: []string{
			"connect, helo, mailfrom, rcptto, data, header, eoh, segment, eom, mailfrom, rcptto, data, header, eoh, segment, eom, close",
			"delivered 2 times",
		},
	}, {
		group: given, name: "connection lost after RCPT",
		acts: func(r *run) {
			r.conversation("EHLO client.example.org", "MAIL FROM:<sender@example.com>", "RCPT TO:<one@example.org>")
		},
		see:  []view{steps, deliveries},
		want: []string{"connect, helo, mailfrom, rcptto, abort, close", "not delivered"},
	}, {
		group: given, name: "connection lost in mid-message",
		acts: func(r *run) {
			r.conversation("EHLO client.example.org", "MAIL FROM:<sender@example.com>", "RCPT TO:<one@example.org>", "DATA")
			r.write("Subject: half\r\n\r\nhalf a bo")
		},
		see:  []view{steps, deliveries},
		want: []string{"connect, helo, mailfrom, rcptto, data, abort, close", "not delivered"},
	}, {
		group: given, name: "recipient that the MTA refuses",
		acts: sends(to("<"+refused+">", "<one@example.org>")), see: []view{codes("RCPT"), events("rcptto"), deliveries},
		want: []string{"RCPT: 550", "RCPT: 250", `rcptto "<one@example.org>"`, "delivered once"},
	}, {
		group: given, name: "macros of STARTTLS, with a client certificate", varies: true,
		filter: script{Reads: []string{"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}", "{verify}"}},
		acts: func(r *run) {
			r.conversation("EHLO client.example.org")
			r.startTLS(r.station.secrets.clientCert)
			sends(plain)(r)
		},
		see: []view{count("helo"), macros("mailfrom")},
		want: []string{
			"helo: 2 times", "{tls_version} = TLSv1.2", "{cipher} = ECDHE-ECDSA-AES256-GCM-SHA384", "{cipher_bits} = 256",
			"{cert_subject} = /CN=client.example.org", "{cert_issuer} = /CN=client.example.org",
		},
	}, {
		group: given, name: "macros of AUTH", varies: true,
		filter: script{Reads: []string{"{auth_type}", "{auth_authen}", "{auth_author}", "{auth_ssf}"}},
		acts: func(r *run) {
			r.conversation("EHLO client.example.org")
			r.auth()
			r.deliver(mail{"<sender@example.com> AUTH=author@example.com", plain.rcpts, text})
			r.quit()
		},
		see:  []view{macros("mailfrom"), deliveries},
		want: []string{"{auth_type} = PLAIN", "{auth_authen} = " + account, "{auth_author} = author@example.com", "delivered once"},
	}, {
		group: given, name: "queue id (i): at which callbacks it is known", varies: true,
		filter: script{Reads: []string{"i"}},
		acts:   sends(plain), see: []view{known("i")},
		want: []string{"mailfrom, rcptto, data, header, eoh, segment, eom, close"},
	}, {
		group: given, name: "macros that the filter asks for (smfi_setsymlist)", tapped: true, varies: true,
		filter: script{Macros: map[milter.Stage][]string{
			milter.SMFIM_CONNECT: {"j", "{client_addr}"}, milter.SMFIM_HELO: {"j"}, milter.SMFIM_ENVFROM: {"{client_addr}"},
			milter.SMFIM_ENVRCPT: {"{client_addr}"}, milter.SMFIM_DATA: {"{client_addr}"}, milter.SMFIM_EOH: {"{client_addr}"},
			milter.SMFIM_EOM: {"{client_addr}"},
		}},
		acts: sends(plain), see: []view{sent},
		want: []string{
			"connect: j {client_addr}", "helo: j", "mailfrom: {client_addr}", "rcptto: {client_addr}", "data: {client_addr}",
			"eoh: {client_addr}", "eom: {client_addr}",
		},
	},
}

var changeFeatures = []feature{
	{
		group: modifiers, name: "AddHeader",
		filter: script{Actions: milter.SMFIF_ADDHDRS, Changes: []change{{Op: "AddHeader", Name: "X-New", Value: "yes"}, {Op: "AddHeader", Name: "X-New", Value: "again"}}},
		acts:   sends(plain), see: []view{header}, varies: true,
		want: []string{"Received", "From", "To", "Date", "Message-Id", "Subject: a test", "X-New: yes", "X-New: again"},
	}, {
		group: modifiers, name: "AddHeader, folded, and with CRLF", varies: true,
		filter: script{Actions: milter.SMFIF_ADDHDRS, Changes: []change{{Op: "AddHeader", Name: "X-New", Value: "a\n\tb"}, {Op: "AddHeader", Name: "X-New", Value: "c\r\n d"}}},
		acts:   sends(plain), see: []view{header},
		want: []string{"Received", "From", "To", "Date", "Message-Id", "Subject: a test", `X-New: a\n\tb`, `X-New: c\n d`},
	}, insertion("InsertHeader at 0, the first", 0, "X-New: yes", "Received", "X-First: 1", "X-Middle: 1"),
	insertion("InsertHeader at 1", 1, "Received", "X-New: yes", "X-First: 1", "X-Middle: 1"),
	insertion("InsertHeader at 2, the middle", 2, "Received", "X-First: 1", "X-New: yes", "X-Middle: 1"),
	insertion("InsertHeader at 100, the last", 100, "Received", "X-First: 1", "X-Middle: 1", "X-New: yes"),
	alteration("ChangeHeader, the first field", []change{{Op: "ChangeHeader", Name: "X-First", Index: 1, Value: "new"}},
		"X-First: new", "X-Twice: one", "X-Middle: 1", "X-Twice: two", `X-Folded: a\n\tb`),
	alteration("ChangeHeader, the second of two of a name", []change{{Op: "ChangeHeader", Name: "X-Twice", Index: 2, Value: "new"}},
		"X-First: 1", "X-Twice: one", "X-Middle: 1", "X-Twice: new", `X-Folded: a\n\tb`),
	alteration("ChangeHeader, a folded field to a folded one", []change{{Op: "ChangeHeader", Name: "X-Folded", Index: 1, Value: "c\n  d"}},
		"X-First: 1", "X-Twice: one", "X-Middle: 1", "X-Twice: two", `X-Folded: c\n  d`),
	alteration("ChangeHeader deletes the first of two of a name", []change{{Op: "ChangeHeader", Name: "X-Twice", Index: 1}},
		"X-First: 1", "X-Middle: 1", "X-Twice: two", `X-Folded: a\n\tb`),
	alteration("ChangeHeader deletes both of two, from the last", []change{{Op: "ChangeHeader", Name: "X-Twice", Index: 2}, {Op: "ChangeHeader", Name: "X-Twice", Index: 1}},
		"X-First: 1", "X-Middle: 1", `X-Folded: a\n\tb`),
	alteration("ChangeHeader deletes both of two, from the first", []change{{Op: "ChangeHeader", Name: "X-Twice", Index: 1}, {Op: "ChangeHeader", Name: "X-Twice", Index: 2}},
		"X-First: 1", "X-Middle: 1", `X-Folded: a\n\tb`),
	alteration("ChangeHeader beyond the last of a name adds a field", []change{{Op: "ChangeHeader", Name: "X-Twice", Index: 3, Value: "new"}},
		"X-First: 1", "X-Twice: one", "X-Middle: 1", "X-Twice: two", `X-Folded: a\n\tb`, "X-Twice: new"),
	alteration("ChangeHeader of a name in other letters", []change{{Op: "ChangeHeader", Name: "x-first", Index: 1, Value: "new"}},
		"x-first: new", "X-Twice: one", "X-Middle: 1", "X-Twice: two", `X-Folded: a\n\tb`),
	{
		group: modifiers, name: "ReplaceBody, short",
		filter: script{Actions: milter.SMFIF_CHGBODY, Changes: []change{{Op: "ReplaceBody", Value: "new\r\n"}, {Op: "ReplaceBody", Value: ".and more\r\n"}}},
		acts:   sends(plain), see: []view{body}, want: []string{`"new\r\n.and more\r\n"`},
	}, {
		group: modifiers, name: "ReplaceBody, 1 MB",
		filter: script{Actions: milter.SMFIF_CHGBODY, Changes: []change{{Op: "ReplaceBody", Value: "0123456789abcd\r\n", Index: 1 << 16}}},
		acts:   sends(plain), see: []view{body}, want: []string{"1048576 bytes"},
	}, {
		group: modifiers, name: "ReplaceBody, empty",
		filter: script{Actions: milter.SMFIF_CHGBODY, Changes: []change{{Op: "ReplaceBody"}}},
		acts:   sends(plain), see: []view{body}, want: []string{`""`},
	},
	betweenPieces("AddHeader", usually, change{Op: "AddHeader", Name: "X-New", Value: "yes"}),
	betweenPieces("AddHeader", failsOpen, change{Op: "AddHeader", Name: "X-New", Value: "yes"}),
	betweenPieces("Progress", usually, change{Op: "Progress"}),
	betweenPieces("Progress", failsOpen, change{Op: "Progress"}),
	{
		group: modifiers, name: "AddRcpt, AddRcptPar and DelRcpt",
		filter: script{Actions: milter.SMFIF_ADDRCPT | milter.SMFIF_ADDRCPT_PAR | milter.SMFIF_DELRCPT, Changes: []change{
			{Op: "AddRcpt", Name: "<added@example.org>"}, {Op: "AddRcptPar", Name: "<par@example.org>", Value: "NOTIFY=NEVER"}, {Op: "DelRcpt", Name: "<gone@example.org>"},
		}},
		acts: sends(to("<one@example.org>", "<gone@example.org>")), see: []view{envelope},
		want: []string{"MAIL <sender@example.com>", "RCPT <added@example.org>", "RCPT <one@example.org>", "RCPT <par@example.org> NOTIFY=NEVER"},
	}, {
		group: modifiers, name: "DelRcpt of the only recipient",
		filter: script{Actions: milter.SMFIF_DELRCPT, Changes: []change{{Op: "DelRcpt", Name: "<one@example.org>"}}}, kept: 1,
		acts: sends(plain), see: []view{codes("message"), deliveries}, want: []string{"message: 250", "not delivered"},
	}, {
		group: modifiers, name: "AddRcpt of a recipient that is there",
		filter: script{Actions: milter.SMFIF_ADDRCPT, Changes: []change{{Op: "AddRcpt", Name: "<one@example.org>"}}},
		acts:   sends(plain), see: []view{envelope, deliveries}, varies: true,
		want: []string{"MAIL <sender@example.com>", "RCPT <one@example.org>", "delivered once"},
	}, {
		group: modifiers, name: "ChangeFrom",
		filter: script{Actions: milter.SMFIF_CHGFROM, Changes: []change{{Op: "ChangeFrom", Name: "<new@example.com>"}}},
		acts:   sends(plain), see: []view{envelope}, want: []string{"MAIL <new@example.com>", "RCPT <one@example.org>"},
	}, {
		group: modifiers, name: "ChangeFrom with ESMTP arguments",
		filter: script{Actions: milter.SMFIF_CHGFROM, Changes: []change{{Op: "ChangeFrom", Name: "<new@example.com>", Value: "RET=HDRS ENVID=x1"}}},
		acts:   sends(plain), see: []view{envelope},
		want: []string{"MAIL <new@example.com> ENVID=x1 RET=HDRS", "RCPT <one@example.org>"},
	}, {
		group: modifiers, name: "ChangeFrom to the null sender",
		filter: script{Actions: milter.SMFIF_CHGFROM, Changes: []change{{Op: "ChangeFrom", Name: "<>"}}},
		acts:   sends(plain), see: []view{envelope}, want: []string{"MAIL <>", "RCPT <one@example.org>"},
	}, quarantine("Quarantine", milter.SMFIS_CONTINUE, "message: 250", "1 in quarantine"),
	quarantine("Quarantine, then SMFIS_ACCEPT", milter.SMFIS_ACCEPT, "message: 250", "1 in quarantine"),
	quarantine("Quarantine, then SMFIS_REJECT", milter.SMFIS_REJECT, "message: 550", "not delivered"),
	quarantine("Quarantine, then SMFIS_TEMPFAIL", milter.SMFIS_TEMPFAIL, "message: 451", "not delivered"),
	quarantine("Quarantine, then SMFIS_DISCARD", milter.SMFIS_DISCARD, "message: 250", "not delivered"),
	{
		group: modifiers, name: "changes, then SMFIS_REJECT",
		filter: script{Actions: milter.SMFIF_ADDHDRS | milter.SMFIF_ADDRCPT, Says: map[string]answer{"eom": {Status: milter.SMFIS_REJECT}}, Changes: []change{
			{Op: "AddHeader", Name: "X-New", Value: "yes"}, {Op: "AddRcpt", Name: "<added@example.org>"},
		}},
		acts: sends(plain), see: []view{codes("message"), deliveries}, want: []string{"message: 550", "not delivered"}, varies: true,
	},
}

// insertion is a case of InsertHeader, in a mail with two fields of its own.
func insertion(name string, index int, want ...string) feature {
	return feature{
		group: modifiers, name: name, varies: true,
		filter: script{Actions: milter.SMFIF_ADDHDRS, Changes: []change{{Op: "InsertHeader", Name: "X-New", Value: "yes", Index: index}}},
		acts:   sends(with("X-First: 1\nX-Middle: 1\n")), see: []view{headerBut("From", "To", "Date", "Message-Id", "Subject")}, want: want,
	}
}

// betweenPieces is a case of something that stands between the pieces of a new body.
func betweenPieces(what string, by manner, between change) feature {
	name := "ReplaceBody, " + what + ", ReplaceBody"
	if by == failsOpen {
		name += ", to an MTA that goes on without a filter that fails"
	}
	return feature{
		group: modifiers, name: name, manner: by, varies: true,
		filter: script{Actions: milter.SMFIF_CHGBODY | milter.SMFIF_ADDHDRS, Changes: []change{
			{Op: "ReplaceBody", Value: "new\r\n"}, between, {Op: "ReplaceBody", Value: "and more\r\n"},
		}},
		acts: sends(plain), see: []view{refusals, deliveries, body, headerBut("Received", "From", "To", "Date", "Message-Id", "Subject")},
		want:  []string{"delivered once", `"new\r\nand more\r\n"`},
		model: &model{[]miltertest.Mail{{Data: "\nbody\n"}}, bodyAndHeader},
	}
}

// alteration is a case of ChangeHeader, which is about the X- fields.
func alteration(name string, changes []change, want ...string) feature {
	return feature{
		group: modifiers, name: name, varies: true,
		filter: script{Actions: milter.SMFIF_CHGHDRS, Changes: changes},
		acts:   sends(fielded), see: []view{headerBut("Received", "From", "To", "Date", "Message-Id", "Subject")}, want: want,
	}
}

// quarantine is a case of a mail that is put in quarantine, with a decision.
func quarantine(name string, status milter.Status, want ...string) feature {
	return feature{
		group: modifiers, name: name, varies: true, kept: 1,
		filter: script{
			Actions: milter.SMFIF_QUARANTINE, Changes: []change{{Op: "Quarantine", Value: "looks odd"}},
			Says: map[string]answer{"eom": {Status: status}},
		},
		acts: sends(plain), see: []view{codes("message"), deliveries}, want: want,
	}
}

// allNoReply are the steps that the filter is not to answer.
const allNoReply = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_MAIL | milter.SMFIP_NR_RCPT | milter.SMFIP_NR_DATA |
	milter.SMFIP_NR_UNKN | milter.SMFIP_NR_HDR | milter.SMFIP_NR_EOH | milter.SMFIP_NR_BODY

var protocolFeatures = []feature{
	{
		group: protocol, name: "actions that the MTA offers", acts: sends(plain), see: []view{offered(0)},
		want: []string{
			"SMFIF_ADDHDRS", "SMFIF_CHGBODY", "SMFIF_ADDRCPT", "SMFIF_DELRCPT", "SMFIF_CHGHDRS", "SMFIF_QUARANTINE", "SMFIF_CHGFROM",
			"SMFIF_ADDRCPT_PAR", "SMFIF_SETSYMLIST",
		},
	}, {
		group: protocol, name: "protocol bits that the MTA offers", acts: sends(plain), see: []view{offered(1)},
		want: []string{
			"SMFIP_NOCONNECT", "SMFIP_NOHELO", "SMFIP_NOMAIL", "SMFIP_NORCPT", "SMFIP_NOBODY", "SMFIP_NOHDRS", "SMFIP_NOEOH", "SMFIP_NR_HDR",
			"SMFIP_NOUNKNOWN", "SMFIP_NODATA", "SMFIP_SKIP", "SMFIP_RCPT_REJ", "SMFIP_NR_CONN", "SMFIP_NR_HELO", "SMFIP_NR_MAIL",
			"SMFIP_NR_RCPT", "SMFIP_NR_DATA", "SMFIP_NR_UNKN", "SMFIP_NR_EOH", "SMFIP_NR_BODY", "SMFIP_HDR_LEADSPC",
		},
	}, {
		group: protocol, name: "SMFIP_NR_* for every step",
		filter: script{Protocol: allNoReply, Actions: milter.SMFIF_ADDHDRS, Changes: []change{{Op: "AddHeader", Name: "X-New", Value: "yes"}}, Says: noReplies()},
		acts:   sends(plain), see: []view{steps, headerBut("Received", "From", "To", "Date", "Message-Id"), deliveries},
		want: []string{"connect, helo, mailfrom, rcptto, data, header, eoh, segment, eom, close", "Subject: a test", "X-New: yes", "delivered once"},
	}, {
		group: protocol, name: "SMFIS_SKIP in the body",
		filter: script{Protocol: milter.SMFIP_SKIP, Says: map[string]answer{"segment": {Status: milter.SMFIS_SKIP}}},
		acts:   sends(mail{plain.from, plain.rcpts, text + strings.Repeat("0123456789abcd\n", 12500)}), see: []view{count("segment"), deliveries},
		want: []string{"segment: 1 times", "delivered once"},
	}, {
		group: protocol, name: "SMFIS_SKIP in the header", varies: true,
		filter: script{Protocol: milter.SMFIP_SKIP, Says: map[string]answer{"header": {Status: milter.SMFIS_SKIP}}},
		acts:   sends(plain), see: []view{refusals, count("header"), deliveries},
		want: []string{"header: 1 times", "delivered once"},
	}, {
		group: protocol, name: "SMFIS_SKIP at recipients",
		filter: script{Protocol: milter.SMFIP_SKIP, Says: map[string]answer{"rcptto": {Status: milter.SMFIS_SKIP}}},
		acts:   sends(to("<one@example.org>", "<two@example.org>", "<three@example.org>")), see: []view{refusals, count("rcptto"), deliveries},
		want: []string{"rcptto: 1 times", "delivered once"},
	}, {
		group: protocol, name: "SMFIP_RCPT_REJ: recipient that the MTA refuses",
		filter: script{Protocol: milter.SMFIP_RCPT_REJ, Reads: []string{"{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"}},
		acts:   sends(to("<" + refused + ">")), see: []view{codes("RCPT"), events("rcptto"), macros("rcptto")}, varies: true,
		want: []string{
			"RCPT: 550", `rcptto "<refused@example.org>"`, "{rcpt_mailer} = error", "{rcpt_host} = 5.1.1", "{rcpt_addr} = 550 5.1.1 No such user here",
		},
	}, {
		group: protocol, name: "SMFIP_HDR_LEADSPC: header as it is given and as it is added",
		filter: script{Protocol: milter.SMFIP_HDR_LEADSPC, Actions: milter.SMFIF_ADDHDRS, Changes: []change{{Op: "AddHeader", Name: "X-New", Value: "none"}, {Op: "AddHeader", Name: "X-New", Value: " one"}}},
		acts:   sends(with("X-Test: one\nX-Test:none\nX-Test:  two\nX-Test:\n\tfold\n")), see: []view{fields("X-Test"), headerBut("Received", "From", "To", "Date", "Message-Id", "Subject")},
		want: []string{
			`header "X-Test" " one"`, `header "X-Test" "none"`, `header "X-Test" "  two"`, `header "X-Test" "\n\tfold"`,
			"X-Test: one", "X-Test:none", "X-Test:  two", `X-Test:\n\tfold`, "X-New:none", "X-New: one",
		},
		varies: true,
	},
}

// noReplies are the answers of a filter that gives none.
func noReplies() map[string]answer {
	says := map[string]answer{}
	for _, step := range replySteps {
		if step.callback != "eom" {
			says[step.callback] = answer{Status: milter.SMFIS_NOREPLY}
		}
	}
	return says
}

// macroFeatures are the sessions from which the document's table of macros is made.
var macroFeatures = []feature{
	{
		group: given, name: "macros that the MTA sends: of a client in the clear", tapped: true, macros: true,
		acts: func(r *run) {
			r.conversation("EHLO client.example.org", "FOO", "MAIL FROM:<sender@example.com>", "RCPT TO:<one@example.org>", "RSET")
			sends(to("<one@example.org>", "<two@example.org>"))(r)
		},
		see: []view{deliveries}, want: []string{"delivered once"},
	}, {
		group: given, name: "macros that the MTA sends: of a client with TLS, a certificate and AUTH", tapped: true, macros: true,
		filter: script{Protocol: milter.SMFIP_RCPT_REJ},
		acts: func(r *run) {
			r.conversation("EHLO client.example.org")
			r.startTLS(r.station.secrets.clientCert)
			r.conversation("EHLO client.example.org")
			r.auth()
			sends(mail{"<sender@example.com> AUTH=author@example.com", []string{"<one@example.org>", "<" + refused + ">"}, text})(r)
		},
		see: []view{deliveries}, want: []string{"delivered once"},
	},
}
