package healthcheck

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

// maxSIPHead is how large a SIP answer's start line and headers may be.
const maxSIPHead = 16 << 10

// sipAnswer is an answer: its status line, and its headers as they came.
type sipAnswer struct {
	code         int
	reason, text string
	header       textproto.MIMEHeader
}

var errSIP = errors.New("not a SIP answer")

// readSIP reads one answer, with its body, from a stream or a datagram.
func readSIP(in *bufio.Reader) (*sipAnswer, error) {
	head, err := sipHead(in)
	if err != nil {
		return nil, err
	}
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(head + "\r\n")))
	line, _ := r.ReadLine()
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	a := &sipAnswer{reason: reason, text: strings.ReplaceAll(head, "\r\n", "\n")}
	if a.code, err = strconv.Atoi(code); err != nil || version != "SIP/2.0" || a.code < 100 || a.code > 699 {
		return nil, fmt.Errorf("%w: %s", errSIP, shorten([]byte(line)))
	}
	if a.header, err = r.ReadMIMEHeader(); err != nil {
		return nil, fmt.Errorf("%w: %s", errSIP, clean(err.Error()))
	}
	return a, a.skipBody(in)
}

// sipHead reads up to the blank line, over blank lines before it (RFC 3261
// section 7.5).
func sipHead(in *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || head.Len()+len(line) > maxSIPHead {
			return "", ErrFlood
		}
		if err != nil {
			return "", err
		}
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case text != "":
			head.WriteString(text + "\r\n")
		case head.Len() > 0:
			return head.String(), nil
		}
	}
}

// get is a header by its name or its compact form (RFC 3261 section 7.3.3).
func (a *sipAnswer) get(name, compact string) string {
	if v := a.header.Get(name); v != "" {
		return v
	}
	return a.header.Get(compact)
}

func (a *sipAnswer) skipBody(in *bufio.Reader) error {
	n, err := strconv.ParseUint(a.get("Content-Length", "L"), 10, 31)
	if err != nil {
		return nil // none: a datagram ends by itself
	}
	if n > maxBytes {
		return ErrFlood
	}
	if _, err := in.Discard(int(n)); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// answers reports whether it is the answer to o: whoever cannot see what we
// send cannot know both.
func (a *sipAnswer) answers(o options) bool {
	via := a.get("Via", "V")
	_, branch, _ := strings.Cut(via, "branch=")
	branch, _, _ = strings.Cut(branch, ";")
	branch, _, _ = strings.Cut(branch, ",")
	return strings.TrimSpace(branch) == o.branch && a.get("Call-Id", "I") == o.callID
}
