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
	"strings"
)

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
	via := strings.ToUpper(s.protocol)
	if s.mode == tlsOn {
		via = "TLS"
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
		"OPTIONS " + sipURI(to) + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=%s;rport", via, local, o.branch),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <%s>;tag=%s", sipURI(from), rand.Text()),
		fmt.Sprintf("To: <%s>", sipURI(to)),
		"Call-ID: " + o.callID,
		"CSeq: 1 OPTIONS",
		fmt.Sprintf("Contact: <%s>", sipURI("goipvs@"+local)),
		"Accept: application/sdp",
		"User-Agent: goipvs",
		"Content-Length: 0",
		"", "",
	}, "\r\n")
	return o
}

// sipURI is the address as a SIP URI; no sips one, which would ask for TLS on
// every hop behind the server too.
func sipURI(address string) string {
	if strings.HasPrefix(address, "sip:") || strings.HasPrefix(address, "sips:") {
		return address
	}
	return "sip:" + address
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
