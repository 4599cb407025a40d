package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// The objects of -json; the command's doc comment tells what their fields hold. A field of type any is a text.
type (
	mailJSON struct {
		Negotiated *negotiatedJSON `json:"negotiated,omitempty"`
		Steps      []stepJSON      `json:"steps"`
		*verdictJSON
		*heldJSON
		Milliseconds float64    `json:"ms"`
		Transcript   []string   `json:"transcript"`
		Error        *errorJSON `json:"error,omitempty"`
	}
	negotiatedJSON struct {
		Version  int      `json:"version"`
		Actions  []string `json:"actions"`
		Protocol []string `json:"protocol"`
	}
	stepJSON struct {
		Name string `json:"name"`
		Text any    `json:"text"`
		replyJSON
	}
	replyJSON struct {
		Status string `json:"status"`
		Code   int    `json:"code,omitempty"`
		XCode  string `json:"xcode,omitempty"`
		Lines  []any  `json:"lines,omitempty"`
		Client []any  `json:"client,omitempty"`
		Unsent bool   `json:"unsent,omitempty"`
	}
	verdictJSON struct {
		Verdict  string       `json:"verdict"`
		Step     string       `json:"step"`
		Reply    replyJSON    `json:"reply"`
		Changes  []changeJSON `json:"changes"`
		Progress int          `json:"progress"`
	}
	changeJSON struct {
		Op    miltertest.Op `json:"op"`
		Index *int          `json:"index,omitempty"`
		Name  any           `json:"name,omitempty"`
		Value any           `json:"value,omitempty"`
		Args  any           `json:"args,omitempty"`
		Bytes *int          `json:"bytes,omitempty"`
	}
	heldJSON struct {
		From       any         `json:"from"`
		Rcpts      []any       `json:"rcpts"`
		Header     []fieldJSON `json:"header"`
		Body       any         `json:"body"`
		Quarantine any         `json:"quarantine,omitempty"`
	}
	fieldJSON struct {
		Name  any `json:"name"`
		Value any `json:"value"`
	}
	errorJSON struct {
		Step    string `json:"step"`
		Message any    `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}
)

// writeJSON writes what has become of a mail as one line.
func writeJSON(w io.Writer, opt *options, o *outcome) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(newMailJSON(opt, o)); err != nil { // these types cannot fail
		panic(err)
	}
	fmt.Fprintln(w, visibleJSON(strings.TrimSuffix(line.String(), "\n")))
}

func newMailJSON(opt *options, o *outcome) *mailJSON {
	m := &mailJSON{Steps: []stepJSON{}, Transcript: []string{}, Milliseconds: float64(o.took) / float64(time.Millisecond)}
	if o.conn != nil {
		if version, actions, protocol := o.conn.Negotiated(); version != 0 {
			m.Negotiated = &negotiatedJSON{version, bitNames(actions), bitNames(protocol)}
		}
	}
	for _, s := range o.steps {
		m.Steps = append(m.Steps, stepJSON{s.Name, text(s.Text), newReplyJSON(s.Reply)})
	}
	for _, p := range o.transcript {
		m.Transcript = append(m.Transcript, p.String())
	}
	if o.result != nil {
		m.verdictJSON = newVerdictJSON(o)
		if o.result.From != "" {
			m.heldJSON = newHeldJSON(o.result)
		}
	}
	if o.err != nil {
		step, err := stepOf(o.err)
		m.Error = &errorJSON{step, text(err.Error()), hint(opt, o.err)}
	}
	return m
}

func newReplyJSON(r miltertest.Reply) replyJSON {
	return replyJSON{r.Status.String(), r.Code, r.XCode, texts(r.Lines), texts(r.Client), r.Unsent}
}

func newVerdictJSON(o *outcome) *verdictJSON {
	v := &verdictJSON{o.verdict(), o.result.Step, newReplyJSON(o.result.Reply), []changeJSON{}, o.result.Progress}
	for _, c := range joinBody(o.result.Changes) {
		change := changeJSON{Op: c.Op, Value: text(c.Value)}
		switch c.Op {
		case miltertest.InsertHeader, miltertest.ChangeHeader:
			change.Name, change.Index = text(c.Name), &c.Index
		case miltertest.AddHeader:
			change.Name = text(c.Name)
		case miltertest.ChangeFrom, miltertest.AddRcptPar:
			change.Args = text(c.Args)
		case miltertest.ReplaceBody:
			bytes := len(c.Value)
			change.Value, change.Bytes = nil, &bytes
		}
		v.Changes = append(v.Changes, change)
	}
	return v
}

func newHeldJSON(r *miltertest.Result) *heldJSON {
	h := &heldJSON{text(r.From), texts(r.Rcpts), []fieldJSON{}, text(r.Body), nil}
	for _, f := range r.Header {
		h.Header = append(h.Header, fieldJSON{text(f.Name), text(f.Value)})
	}
	if r.Quarantine != "" {
		h.Quarantine = text(r.Quarantine)
	}
	return h
}

// text gives what stands for a text in JSON, whose strings are UTF-8.
func text(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return map[string][]byte{"base64": []byte(s)}
}

func texts(list []string) []any {
	all := []any{}
	for _, s := range list {
		all = append(all, text(s))
	}
	return all
}

// visibleJSON escapes what JSON lets pass and a terminal may act on.
func visibleJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// bitNames gives libmilter's names of the bits in a set.
func bitNames[T milter.Action | milter.Protocol](set T) []string {
	if set == 0 {
		return []string{}
	}
	return strings.Split(fmt.Sprint(set), "|")
}

// stepOf gives the step that an error is of, and the error without it.
func stepOf(err error) (string, error) {
	var failure *miltertest.Error
	if errors.As(err, &failure) {
		return failure.Step, failure.Err
	}
	return "", err
}
