package healthcheck

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	mdns "github.com/miekg/dns"
)

// ask sends the question with an id of its own, from a port of its own.
func (q dnsCheck) ask(ctx context.Context, d *Dialer, network string, edns bool) (*mdns.Msg, error) {
	m := new(mdns.Msg).SetQuestion(q.name, q.kind)
	if edns {
		m.SetEdns0(udpSize, false)
	}
	wire, err := m.Pack()
	if err != nil {
		return nil, ours(err)
	}
	c, err := d.Dial(ctx, network)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if network == "tcp" {
		return askTCP(c, m, wire)
	}
	return askUDP(c, m, wire)
}

// askUDP waits for the datagram that answers m; others are somebody's attempt
// to answer in the server's stead.
func askUDP(c net.Conn, m *mdns.Msg, wire []byte) (*mdns.Msg, error) {
	if _, err := c.Write(wire); err != nil {
		return nil, bare(err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, bare(err)
		}
		if answer, err := readAnswer(buf[:n], m); err == nil {
			return answer, nil
		}
	}
}

// askTCP frames messages by their length (RFC 1035 section 4.2.2).
func askTCP(c net.Conn, m *mdns.Msg, wire []byte) (*mdns.Msg, error) {
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
		return nil, bare(err)
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, hungUp(err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, buf); err != nil {
		return nil, hungUp(err)
	}
	return readAnswer(buf, m)
}

// readAnswer decodes a message that must be the answer to m.
func readAnswer(wire []byte, m *mdns.Msg) (*mdns.Msg, error) {
	answer := new(mdns.Msg)
	if err := answer.Unpack(wire); err != nil && !answer.Truncated {
		return nil, fmt.Errorf("not a DNS answer: %w", err)
	}
	if !answer.Response || answer.Id != m.Id {
		return nil, errors.New("an answer to another question (id)")
	}
	if len(answer.Question) == 0 && answer.Rcode != mdns.RcodeSuccess {
		return answer, nil // a refusal may leave the question out
	}
	if len(answer.Question) != 1 || answer.Question[0].Qtype != m.Question[0].Qtype ||
		!strings.EqualFold(answer.Question[0].Name, m.Question[0].Name) {
		return nil, errors.New("an answer to another question")
	}
	return answer, nil
}
