package traffic_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// open opens a connection of the client, which the end of the test closes at the
// latest, and tells which real server has it: "refused" for none, when conn is
// nil.
func (b *balancer) open(t *testing.T, network string, from, to netip.AddrPort) (*topo.Conn, string) {
	t.Helper()
	conn, err := b.Client.Dial(t.Context(), network, from, to)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		var a topo.Answer
		if a, err = conn.Ask(t.Context()); err == nil {
			return conn, a.Server
		}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("%s %s > %s: %v", network, from, to, err)
	}
	return nil, "refused"
}

// who opens a connection and tells which real server has it.
func (b *balancer) who(t *testing.T, network string, from netip.Addr, to netip.AddrPort) string {
	t.Helper()
	_, server := b.open(t, network, b.from(from), to)
	return server
}

// whoNext opens several connections.
func (b *balancer) whoNext(t *testing.T, n int, network string, from netip.Addr, to netip.AddrPort) (servers []string) {
	t.Helper()
	for range n {
		servers = append(servers, b.who(t, network, from, to))
	}
	return servers
}

// whoHas asks on an open connection.
func whoHas(t *testing.T, c *topo.Conn) string {
	t.Helper()
	a, err := c.Ask(t.Context())
	if err != nil {
		t.Fatalf("%s > %s, open: %v", c.LocalAddr(), c.RemoteAddr(), err)
	}
	return a.Server
}

// wantSilence asks on an open connection and wants no answer.
func wantSilence(t *testing.T, c *topo.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	a, err := c.Ask(ctx)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s > %s: answer %v, error %v, want silence", c.LocalAddr(), c.RemoteAddr(), a, err)
	}
}

// ask opens the flow's connection, which stays open until the test ends, and
// wants its server to answer.
func (b *balancer) ask(t *testing.T, f flow) {
	t.Helper()
	if f.onePacket {
		b.send(t, f)
		return
	}
	c, err := b.Client.Dial(t.Context(), f.network, f.client, f.vip)
	if err != nil {
		t.Fatalf("%s: %v", f.there(), err)
	}
	t.Cleanup(func() { c.Close() })
	got, err := c.Ask(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", f.there(), err)
	}
	equal(t, "answer to "+f.there(), topo.Answer{Server: f.server.Name, Local: f.local, Remote: f.client}, got)
}

// send sends a datagram and wants an answer, from the server's own end: for one
// packet the director keeps no entry to change an answer by.
func (b *balancer) send(t *testing.T, f flow) {
	t.Helper()
	c, err := b.Client.ListenPacket(f.network, f.client)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(topo.Patience)))
	_, err = c.WriteTo([]byte("name\n"), net.UDPAddrFromAddrPort(f.vip))
	must(t, err)
	buf := make([]byte, 200)
	n, peer, err := c.ReadFrom(buf)
	if err != nil {
		t.Fatalf("%s: %v", f.there(), err)
	}
	got, err := topo.ParseAnswer(string(buf[:n]))
	must(t, err)
	equal(t, "answer to "+f.there(), topo.Answer{Server: f.server.Name, Local: f.local, Remote: f.client}, got)
	equal(t, "where the answer came from", f.local, netip.MustParseAddrPort(peer.String()))
}
