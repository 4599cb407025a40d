package harness

import (
	"fmt"
	"regexp"
	"strings"
)

// Mail is one mail as it was delivered. Lines end in LF in place of the CRLF of the wire.
type Mail struct {
	From   Path
	Rcpts  []Path   // in the MTA's order, which need not be that of the RCPT commands
	Header []string // the fields in their order, each whole: "Subject: a test"; a folded one has its line breaks
	Body   []byte
}

// Path is an envelope address and its ESMTP parameters, such as SIZE=1000.
type Path struct {
	Address string // without the angle brackets
	Args    []string
}

// SplitFields splits a mail header into its fields.
func SplitFields(head string) []string {
	var fields []string
	for _, line := range strings.Split(head, "\n") {
		if last := len(fields) - 1; last >= 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			fields[last] += "\n" + line
		} else if line != "" {
			fields = append(fields, line)
		}
	}
	return fields
}

// pathText is an address in angle brackets, with a quoted local part or not, and its parameters.
var pathText = regexp.MustCompile(`^<((?:"(?:\\.|[^"\\])*"|[^">])*)>(.*)$`)

// ParsePath reads what stands behind FROM: or TO: in a MAIL or RCPT command.
func ParsePath(text string) (Path, error) {
	match := pathText.FindStringSubmatch(text)
	if match == nil {
		return Path{}, fmt.Errorf("no envelope address in %q", text)
	}
	path := Path{Address: match[1]}
	if match[2] != "" {
		path.Args = strings.Fields(match[2])
	}
	return path, nil
}
