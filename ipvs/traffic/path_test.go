package traffic_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// flow is a connection as it should be.
type flow struct {
	network           string
	client, vip, real netip.AddrPort
	local             netip.AddrPort // the server's end of it: real or, without NAT, vip
	server            *topo.Host
	outer             string // the tunnel to the server
	onePacket         bool
}

// there and back are the two directions as the client knows them.
func (f flow) there() string { return f.network + " " + f.client.String() + " > " + f.vip.String() }
func (f flow) back() string  { return f.network + " " + f.vip.String() + " > " + f.client.String() }

// A path is what a flow's packets look like at the director and at its server,
// each line once, in the order they first pass.
type path struct{ director, server []string }

// natPath: the director rewrites the destination of what comes from the client
// and the source of what comes from the server.
func natPath(f flow) path {
	in := f.network + " " + f.client.String() + " > " + f.local.String()
	out := f.network + " " + f.local.String() + " > " + f.client.String()
	p := path{
		director: []string{
			"in  router > director: " + f.there(),
			"out director > " + f.server.Name + ": " + in,
			"in  " + f.server.Name + " > director: " + out,
			"out director > router: " + f.back(),
		},
		server: []string{
			"in  director > " + f.server.Name + ": " + in,
			"out " + f.server.Name + " > director: " + out,
		},
	}
	if f.onePacket { // without an entry nothing is known about an answer
		p.director[3] = "out director > router: " + out
	}
	return p
}

// directPath: only the frame's destination changes, and the answer goes past the
// director.
func directPath(f flow) path {
	return path{
		director: []string{
			"in  router > director: " + f.there(),
			"out director > " + f.server.Name + ": " + f.there(),
		},
		server: []string{
			"in  director > " + f.server.Name + ": " + f.there(),
			"out " + f.server.Name + " > router: " + f.back(),
		},
	}
}

// tunnelPath: as by direct routing, in a packet from the director to the server.
func tunnelPath(f flow) path {
	p := directPath(f)
	p.director[1] = "out director > " + f.server.Name + ": " + f.outer + ", " + f.there()
	p.server[0] = "in  director > " + f.server.Name + ": " + f.outer + ", " + f.there()
	return p
}

// seen is the path that a capture saw: every kind of packet once.
func (b *balancer) seen(t *testing.T, c *topo.Capture) []string {
	t.Helper()
	return unique(b.lines(b.packets(t, c)))
}

func (b *balancer) lines(packets []topo.Packet) (lines []string) {
	for _, p := range packets {
		way := "in "
		if p.Out {
			way = "out"
		}
		lines = append(lines, fmt.Sprintf("%s %s > %s: %s", way, b.name[p.SrcMAC], b.name[p.DstMAC], header(p)))
	}
	return lines
}

func unique(lines []string) (list []string) {
	for _, l := range lines {
		if !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return list
}

func header(p topo.Packet) string {
	var b strings.Builder
	if o := p.Outer; o != nil {
		b.WriteString(tunnel(o) + ", ")
	}
	fmt.Fprintf(&b, "%s %s > %s", p.Proto, p.Src, p.Dst)
	if strings.HasPrefix(p.Proto, "icmp") {
		b.WriteString(" " + p.Detail)
	}
	if p.Err != nil {
		b.WriteString(" (" + p.Err.Error() + ")")
	}
	return b.String()
}

// tunnel leaves the source port of gue out, which is a hash of the connection.
func tunnel(o *topo.Outer) string {
	kind, to := o.Kind, o.Dst.Addr().String()
	if o.Checksum {
		kind += " sum"
	}
	if o.Remote {
		kind += " remsum"
	}
	if o.Kind == "gue" {
		to = o.Dst.String()
	}
	return kind + " " + o.Src.Addr().String() + " > " + to
}
