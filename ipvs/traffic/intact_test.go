package traffic_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// packets are those that a host sent or got by an interface, without the talk of
// neighbours about each other, and without the last words of connections of cases
// before: an SCTP association takes its time to end.
func (b *balancer) packets(t *testing.T, c *topo.Capture) []topo.Packet {
	t.Helper()
	all, err := c.Packets()
	must(t, err)
	return slices.DeleteFunc(all, func(p topo.Packet) bool {
		flooded := !p.Out && b.name[p.DstMAC] != c.Host.Name
		multicast := p.DstMAC[0]&1 != 0
		discovery := p.Proto == "arp" || p.Proto == "icmp6" && (p.Detail == "135/0" || p.Detail == "136/0")
		return flooded || multicast || discovery || b.isPast(p.Src.Port()) || b.isPast(p.Dst.Port())
	})
}

func (b *balancer) isPast(port uint16) bool { return firstPort < port && port <= b.past }

// wantIntact wants the packets of a flow that came to the server to be those that
// came to the director, in that order.
func (b *balancer) wantIntact(t *testing.T, f flow, atDirector, atServer *topo.Capture) {
	t.Helper()
	in := func(c *topo.Capture) (list [][]byte) {
		for _, p := range b.packets(t, c) {
			if !p.Out && p.Src == f.client && p.Proto == f.network {
				list = append(list, content(p, f.local != f.vip))
			}
		}
		return list
	}
	got := in(atServer) // first: what comes meanwhile is at the director before
	came := in(atDirector)
	if len(got) == 0 {
		t.Errorf("no packets of %s came to %s", f.there(), f.server.Name)
	}
	for i, p := range got { // the director may have others, which it sent elsewhere
		at := slices.IndexFunc(came, func(c []byte) bool { return bytes.Equal(c, p) })
		if at < 0 {
			t.Fatalf("packet %d of %s is at %s\n% x\nand at the director there was, after those before it,\n% x",
				i, f.there(), f.server.Name, p, came)
		}
		came = came[at+1:]
	}
}

// content is what of a packet has to stay: all of it but what every router
// changes, and checksums that the sender left to the interface. From a packet
// with a new address only what its transport protocol carries.
func content(p topo.Packet, rewritten bool) []byte {
	if rewritten {
		return append([]byte(p.Detail+" "), p.Payload...)
	}
	b := bytes.Clone(p.IP)
	clear(b[ttl(b):][:1])
	transport := 40
	if b[0]>>4 == 4 {
		transport = int(b[0]&15) * 4
		clear(b[10:12])
	}
	switch p.Proto {
	case "tcp":
		clear(b[transport+16:][:2])
	case "udp":
		clear(b[transport+6:][:2])
	case "sctp":
		clear(b[transport+8:][:4])
	}
	return b
}

// ttl is where an IP packet has its time to live.
func ttl(packet []byte) int {
	if packet[0]>>4 == 6 {
		return 7
	}
	return 8
}
