package topo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// Conn is a connection to a Server, or to the virtual service in front of it.
// It is for one goroutine at a time.
type Conn struct {
	net.Conn
	r *bufio.Reader
}

// Answer is what a Server says.
type Answer struct {
	Server string         // the host it runs on: rs1
	Local  netip.AddrPort // its end of the connection: the VIP, or with NAT its own address
	Remote netip.AddrPort // the client as the server sees it
}

// Dial opens a tcp, udp or sctp connection from this host. The zero from means
// the host's own address and any port; a from with only an address or only a
// port leaves the other to be chosen. A refusal (errors.Is ECONNREFUSED) or
// silence (os.ErrDeadlineExceeded) comes back as an error, to be asserted.
func (h *Host) Dial(ctx context.Context, network string, from, to netip.AddrPort) (*Conn, error) {
	if !from.Addr().IsValid() {
		own := h.Addr4
		if to.Addr().Is6() {
			own = h.Addr6
		}
		from = netip.AddrPortFrom(own, from.Port())
	}
	c, err := h.dial(ctx, network, from, to)
	if err != nil {
		return nil, fmt.Errorf("topo: %s: dial %s %s from %s: %w", h.Name, network, to, from, err)
	}
	return &Conn{Conn: c, r: bufio.NewReader(c)}, nil
}

// Ask opens a connection, asks who is there and closes it again.
func (h *Host) Ask(ctx context.Context, network string, from, to netip.AddrPort) (Answer, error) {
	c, err := h.Dial(ctx, network, from, to)
	if err != nil {
		return Answer{}, err
	}
	defer c.Close()
	return c.Ask(ctx)
}

// Ask asks the server for its name. It may be called again on the same
// connection.
func (c *Conn) Ask(ctx context.Context) (Answer, error) { return c.Say(ctx, "name") }

// Say sends a request: see Server for the ones that mean something.
func (c *Conn) Say(ctx context.Context, request string) (Answer, error) {
	defer limit(ctx, c.SetDeadline)()
	if _, err := io.WriteString(c.Conn, request+"\n"); err != nil {
		return Answer{}, fmt.Errorf("topo: ask %s: %w", c.RemoteAddr(), err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return Answer{}, fmt.Errorf("topo: wait for answer of %s: %w", c.RemoteAddr(), err)
	}
	return ParseAnswer(line)
}

// ParseAnswer reads a Server's answer, for those who asked by HTTP.
func ParseAnswer(line string) (Answer, error) {
	words := strings.Fields(line)
	if len(words) != 3 {
		return Answer{}, fmt.Errorf("topo: parse answer %q: not three words", line)
	}
	local, err := netip.ParseAddrPort(words[1])
	if err != nil {
		return Answer{}, fmt.Errorf("topo: parse answer %q: %w", line, err)
	}
	remote, err := netip.ParseAddrPort(words[2])
	if err != nil {
		return Answer{}, fmt.Errorf("topo: parse answer %q: %w", line, err)
	}
	return Answer{Server: words[0], Local: local, Remote: remote}, nil
}

// Reset closes a connection with a reset (tcp) or an abort (sctp), which leaves
// the address and port free for the next one.
func (c *Conn) Reset() error {
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		if err := l.SetLinger(0); err != nil {
			return fmt.Errorf("topo: reset: %w", err)
		}
	}
	return c.Close()
}
