package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
)

// maxSIPHead is how large a SIP answer's start line and headers may be.
const maxSIPHead = 16 << 10

// sipCheck asks for OPTIONS, by UDP, TCP or TLS, and takes a 2xx answer for
// well (RFC 3261 section 11).
//
// Own code: emiago/sipgo brings its own sockets, transactions that repeat a
// request, goroutines and WebSocket; a check is one request and one answer.
type sipCheck struct {
	*security
	receive         matcher
	protocol        string
	request, sender string
}

func sip(c Check) (look, error) {
	if err := oneLine(c); err != nil {
		return nil, err
	}
	protocol, err := transport(c, "udp", "tcp")
	if err != nil {
		return nil, err
	}
	s, err := newSecurity(c, tlsOff, tlsOn)
	if err != nil {
		return nil, err
	}
	if s.mode == tlsOn && c.Protocol == "udp" {
		return nil, errors.New("TLS needs protocol tcp")
	}
	if strings.ContainsAny(c.Request+c.Login, "<> \t") {
		return nil, errors.New("request and login are SIP addresses: no blanks, no angle brackets")
	}
	m, err := newMatcher(c.Receive)
	return sipCheck{s, m, protocol, c.Request, c.Login}.look, err
}

func (s sipCheck) look(ctx context.Context, d *Dialer) error {
	c, err := s.connect(ctx, d)
	if err != nil {
		return err
	}
	o := s.options(c, d)
	if _, err := io.WriteString(c, o.text); err != nil {
		return fmt.Errorf("sip options: %w", bare(err))
	}
	answer, err := s.await(c, d, o)
	if err != nil {
		return fmt.Errorf("sip options: %w", hungUp(err))
	}
	if answer.code/100 != 2 {
		return fmt.Errorf("sip options: %s", d.quote(fmt.Sprintf("%d %s", answer.code, answer.reason)))
	}
	return d.expect(s.receive, answer.text)
}

func (s sipCheck) connect(ctx context.Context, d *Dialer) (net.Conn, error) {
	if s.mode == tlsOff && s.protocol == "udp" {
		return d.Dial(ctx, "udp")
	}
	return s.dial(ctx, d)
}

// options is a request, and what of it the answer repeats.
type options struct{ text, branch, callID string }

// options writes the request. What identifies it is random: a server may take
// equal requests for one repeated, and answer from memory.
func (s sipCheck) options(c net.Conn, d *Dialer) options {
	via, scheme := strings.ToUpper(s.protocol), "sip"
	if s.mode == tlsOn {
		via, scheme = "TLS", "sips"
	}
	local := c.LocalAddr().String()
	to, from := s.request, s.sender
	if to == "" {
		to = d.Address().String()
	}
	if from == "" {
		from = "goipvs@" + local
	}
	o := options{branch: "z9hG4bK" + rand.Text(), callID: rand.Text()}
	o.text = strings.Join([]string{
		"OPTIONS " + sipURI(scheme, to) + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=%s;rport", via, local, o.branch),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <%s>;tag=%s", sipURI(scheme, from), rand.Text()),
		fmt.Sprintf("To: <%s>", sipURI(scheme, to)),
		"Call-ID: " + o.callID,
		"CSeq: 1 OPTIONS",
		fmt.Sprintf("Contact: <%s>", sipURI(scheme, "goipvs@"+local)),
		"Accept: application/sdp",
		"User-Agent: goipvs",
		"Content-Length: 0",
		"", "",
	}, "\r\n")
	return o
}

func sipURI(scheme, address string) string {
	if strings.HasPrefix(address, "sip:") || strings.HasPrefix(address, "sips:") {
		return address
	}
	return scheme + ":" + address
}

// await reads until the final answer to o. Provisional answers, and what
// belongs to other requests, are read over.
func (s sipCheck) await(c net.Conn, d *Dialer, o options) (*sipAnswer, error) {
	var in *bufio.Reader
	datagrams := s.mode == tlsOff && s.protocol == "udp"
	buf := make([]byte, 64<<10)
	if !datagrams {
		in = bufio.NewReader(c)
	}
	for {
		if datagrams {
			n, err := c.Read(buf)
			if err != nil {
				return nil, err
			}
			in = bufio.NewReader(bytes.NewReader(buf[:n]))
		}
		answer, err := readSIP(in)
		switch {
		case err != nil && datagrams:
			d.Note("ignored a datagram: %v", err)
		case err != nil:
			return nil, err
		case answer.code >= 200 && answer.answers(o):
			return answer, nil
		}
	}
}

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
		if err == bufio.ErrBufferFull || head.Len()+len(line) > maxSIPHead {
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
