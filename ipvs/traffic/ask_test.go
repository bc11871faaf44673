package traffic_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

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
