package traffic_test

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

// method is a way to forward: what the kernel is told, and the path that packets
// take then.
type method struct {
	name    string
	prepare topo.Method
	fwd     ipvs.Method
	encap   ipvs.Encap
	outer   topo.Outer // how the tunnel's header looks
	path    func(flow) path
}

var (
	nat = method{"nat", topo.NAT, ipvs.NAT, ipvs.Encap{}, topo.Outer{}, natPath}
	dr  = method{"dr", topo.DR, ipvs.DirectRoute, ipvs.Encap{}, topo.Outer{}, directPath}
)

var methods = []method{
	nat,
	dr,
	{"ipip", topo.IPIP, ipvs.Tunnel, ipvs.Encap{}, topo.Outer{Kind: "ipip"}, tunnelPath},
	{"gre", topo.GRE, ipvs.Tunnel, gre(0), topo.Outer{Kind: "gre"}, tunnelPath},
	{"gre csum", topo.GRESum, ipvs.Tunnel, gre(ipvs.Csum), topo.Outer{Kind: "gre", Checksum: true}, tunnelPath},
	{"gue", topo.GUE, ipvs.Tunnel, gue(0), topo.Outer{Kind: "gue"}, tunnelPath},
	{"gue csum", topo.GUE, ipvs.Tunnel, gue(ipvs.Csum), topo.Outer{Kind: "gue", Checksum: true}, tunnelPath},
	{"gue remcsum", topo.GUE, ipvs.Tunnel, gue(ipvs.RemCsum), topo.Outer{Kind: "gue", Checksum: true, Remote: true}, tunnelPath},
}

func (m method) destination(a netip.Addr, port uint16) ipvs.Destination {
	return ipvs.Destination{Addr: netip.AddrPortFrom(a, port), Method: m.fwd, Encap: m.encap, Weight: 1}
}

func gre(flags ipvs.TunnelFlags) ipvs.Encap { return ipvs.Encap{Type: ipvs.GRE, Flags: flags} }
func gue(flags ipvs.TunnelFlags) ipvs.Encap {
	return ipvs.Encap{Type: ipvs.GUE, Port: topo.GUEPort, Flags: flags}
}

// transport is a protocol, and the state of its open connections.
type transport struct {
	name, network string
	protocol      ipvs.Protocol
	flags         ipvs.Flags
	state         string
}

var (
	tcp       = transport{"tcp", "tcp", ipvs.TCP, 0, "ESTABLISHED"}
	udp       = transport{"udp", "udp", ipvs.UDP, 0, "UDP"}
	onePacket = transport{"one-packet udp", "udp", ipvs.UDP, ipvs.OnePacket, ""}
	sctp      = transport{"sctp", "sctp", ipvs.SCTP, 0, "ESTABLISHED"}
)

// families are the client's and the real servers' address.
var families = []struct {
	name         string
	client, real func(*topo.Host) netip.Addr
}{
	{"ipv4", addr4, addr4},
	{"ipv6", addr6, addr6},
	{"ipv4 to ipv6", addr4, addr6},
	{"ipv6 to ipv4", addr6, addr4},
}

func addr4(h *topo.Host) netip.Addr { return h.Addr4 }
func addr6(h *topo.Host) netip.Addr { return h.Addr6 }

// Two real servers answer in turn, by every method with every protocol, and the
// packets are what the method makes of them. Only a tunnel carries one family in
// the other.
func TestKernelMethods(t *testing.T) {
	b := newBalancer(t, topo.Spec{Servers: 2, IPv6: true, Router: true}, topo.NAT)
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			must(t, b.Prepare(m.prepare))
			for _, f := range families {
				if m.fwd != ipvs.Tunnel && f.client(b.Client).Is4() != f.real(b.Client).Is4() {
					continue
				}
				for _, tr := range []transport{tcp, udp, onePacket, sctp} {
					c := methodCase{m, tr, b, f.client, f.real}
					t.Run(f.name+" "+tr.name, c.test)
				}
			}
		})
	}
}

// methodCase is one field of the table of methods, families and transports.
type methodCase struct {
	method       method
	transport    transport
	b            *balancer
	client, real func(*topo.Host) netip.Addr
}

func (c methodCase) test(t *testing.T) {
	b, rs1, rs2 := c.b, c.b.Servers[0], c.b.Servers[1]
	b.past = b.port
	vip := b.from(b.vip(c.client(b.Client))) // a port that no other case has
	s := ipvs.Service{ServiceKey: ipvs.AddrService(c.transport.protocol, vip), Scheduler: "rr", Flags: c.transport.flags}
	b.add(t, s, c.destination(rs1, vip), c.destination(rs2, vip))
	flows := c.flows(vip, rs2, rs1)
	for _, f := range flows {
		server, err := f.server.Serve(f.network, f.local.Port(), f.local.Addr())
		must(t, err)
		defer server.Close()
	}
	atDirector := topotest.Capture(t, b.Director, "eth0")
	atServer := []*topo.Capture{topotest.Capture(t, rs2, "eth0"), topotest.Capture(t, rs1, "eth0")}
	for _, f := range flows {
		b.ask(t, f)
	}
	var director []string
	for i, f := range flows {
		p := c.method.path(f)
		director = append(director, p.director...)
		equal(t, "path at "+f.server.Name, p.server, b.seen(t, atServer[i]))
		b.wantIntact(t, f, atDirector, atServer[i])
	}
	equal(t, "path at the director", unique(director), b.seen(t, atDirector))
	c.wantEntries(t, flows)
}

// port is the real servers' port: NAT changes it.
func (c methodCase) port(vip netip.AddrPort) uint16 {
	if c.method.fwd == ipvs.NAT {
		return vip.Port() + 10000
	}
	return vip.Port()
}

func (c methodCase) destination(h *topo.Host, vip netip.AddrPort) ipvs.Destination {
	return c.method.destination(c.real(h), c.port(vip))
}

// flows are one connection for each of the servers.
func (c methodCase) flows(vip netip.AddrPort, servers ...*topo.Host) (flows []flow) {
	f := flow{network: c.transport.network, vip: vip, onePacket: c.transport.flags == ipvs.OnePacket}
	for _, h := range servers {
		if !f.client.IsValid() || !f.onePacket { // one-packet: the same client's next packet
			f.client = c.b.from(c.client(c.b.Client))
		}
		f.server, f.real, f.local = h, netip.AddrPortFrom(c.real(h), c.port(vip)), vip
		switch c.method.fwd {
		case ipvs.NAT:
			f.local = f.real
		case ipvs.Tunnel:
			outer := c.method.outer
			outer.Src, outer.Dst = netip.AddrPortFrom(c.real(c.b.Director), 0), netip.AddrPortFrom(c.real(h), topo.GUEPort)
			f.outer = tunnel(&outer)
		}
		flows = append(flows, f)
	}
	return flows
}

// wantEntries looks at the director's connections: one for each flow, none for
// single packets.
func (c methodCase) wantEntries(t *testing.T, flows []flow) {
	t.Helper()
	var want []procfs.Connection
	for _, f := range flows {
		if !f.onePacket {
			want = append(want, procfs.Connection{Protocol: c.transport.protocol,
				Client: f.client, Virtual: f.vip, Destination: f.real, State: c.transport.state})
		}
	}
	soon(t, "connections", want, func() []procfs.Connection {
		return c.b.connections(t, func(p procfs.Connection) bool { return p.Virtual == flows[0].vip })
	})
}
