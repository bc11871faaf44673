package traffic_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

// asked is a connection and the server that must have it.
type asked struct{ network, from, to, server string }

// persistent are services that keep clients at their server. The scheduler is
// rr: a connection that it is asked for goes to rs3, the next to rs2, rs1, rs3.
var persistent = []struct {
	name      string
	key       ipvs.ServiceKey
	mask      int // prefix length of who stays together, 0: every client by itself
	asked     []asked
	templates []string
}{
	{
		name: "client", key: service(ipvs.TCP, "192.0.2.10:80"),
		asked: []asked{
			{"tcp", "172.16.1.1", "192.0.2.10:80", "rs3"},
			{"tcp", "172.16.1.1", "192.0.2.10:80", "rs3"},
			{"tcp", "172.16.1.2", "192.0.2.10:80", "rs2"},
			{"tcp", "172.16.1.1", "192.0.2.10:80", "rs3"},
			{"tcp", "172.16.1.3", "192.0.2.10:80", "rs1"},
			{"tcp", "172.16.1.2", "192.0.2.10:80", "rs2"},
		},
		templates: []string{
			"TCP 172.16.1.1:0 > 192.0.2.10:80 > 10.9.0.13:80",
			"TCP 172.16.1.2:0 > 192.0.2.10:80 > 10.9.0.12:80",
			"TCP 172.16.1.3:0 > 192.0.2.10:80 > 10.9.0.11:80",
		},
	},
	{
		name: "client, udp over IPv6", key: service(ipvs.UDP, "[2001:db8:ffff::10]:53"),
		asked: []asked{
			{"udp", "2001:db8::1:1", "[2001:db8:ffff::10]:53", "rs3"},
			{"udp", "2001:db8::1:2", "[2001:db8:ffff::10]:53", "rs2"},
			{"udp", "2001:db8::1:1", "[2001:db8:ffff::10]:53", "rs3"},
		},
		templates: []string{
			"UDP [2001:db8::1:1]:0 > [2001:db8:ffff::10]:53 > [fd09::d]:53",
			"UDP [2001:db8::1:2]:0 > [2001:db8:ffff::10]:53 > [fd09::c]:53",
		},
	},
	{
		name: "neighbours of a /24", key: service(ipvs.TCP, "192.0.2.10:81"), mask: 24,
		asked: []asked{
			{"tcp", "172.16.1.1", "192.0.2.10:81", "rs3"},
			{"tcp", "172.16.1.255", "192.0.2.10:81", "rs3"},
			{"tcp", "172.16.2.1", "192.0.2.10:81", "rs2"},
			{"tcp", "172.16.3.1", "192.0.2.10:81", "rs1"},
			{"tcp", "172.16.1.77", "192.0.2.10:81", "rs3"},
			{"tcp", "172.16.2.254", "192.0.2.10:81", "rs2"},
		},
		templates: []string{
			"TCP 172.16.1.0:0 > 192.0.2.10:81 > 10.9.0.13:81",
			"TCP 172.16.2.0:0 > 192.0.2.10:81 > 10.9.0.12:81",
			"TCP 172.16.3.0:0 > 192.0.2.10:81 > 10.9.0.11:81",
		},
	},
	{
		name: "neighbours of an IPv6 /56", key: service(ipvs.TCP, "[2001:db8:ffff::10]:81"), mask: 56,
		asked: []asked{
			{"tcp", "2001:db8:0:101::1", "[2001:db8:ffff::10]:81", "rs3"},
			{"tcp", "2001:db8:0:1ff:ffff::2", "[2001:db8:ffff::10]:81", "rs3"},
			{"tcp", "2001:db8:0:201::1", "[2001:db8:ffff::10]:81", "rs2"},
			{"tcp", "2001:db8:0:100::", "[2001:db8:ffff::10]:81", "rs3"},
		},
		templates: []string{
			"TCP [2001:db8:0:100::]:0 > [2001:db8:ffff::10]:81 > [fd09::d]:81",
			"TCP [2001:db8:0:200::]:0 > [2001:db8:ffff::10]:81 > [fd09::c]:81",
		},
	},
	{
		name: "every port", key: service(ipvs.TCP, "192.0.2.11:0"),
		asked: []asked{
			{"tcp", "172.16.1.1", "192.0.2.11:80", "rs3"},
			{"tcp", "172.16.1.1", "192.0.2.11:443", "rs3"},
			{"tcp", "172.16.1.2", "192.0.2.11:443", "rs2"},
			{"tcp", "172.16.1.2", "192.0.2.11:80", "rs2"},
		},
		templates: []string{
			"TCP 172.16.1.1:0 > 192.0.2.11:0 > 10.9.0.13:0",
			"TCP 172.16.1.2:0 > 192.0.2.11:0 > 10.9.0.12:0",
		},
	},
	{
		name: "mark, across ports and protocols", key: ipvs.MarkService(9, ipvs.IPv4), mask: 16,
		asked: []asked{
			{"tcp", "172.16.1.1", "192.0.2.10:90", "rs3"},
			{"udp", "172.16.1.1", "192.0.2.10:91", "rs3"},
			{"sctp", "172.16.255.1", "192.0.2.11:92", "rs3"},
			{"udp", "172.17.1.1", "192.0.2.10:91", "rs2"},
			{"tcp", "172.17.2.1", "192.0.2.10:90", "rs2"},
		},
		templates: []string{
			"mark 9 172.16.0.0:0 > 10.9.0.13:0",
			"mark 9 172.17.0.0:0 > 10.9.0.12:0",
		},
	},
	{
		name: "mark, IPv6", key: ipvs.MarkService(9, ipvs.IPv6),
		asked: []asked{
			{"tcp", "2001:db8::1:1", "[2001:db8:ffff::10]:90", "rs3"},
			{"udp", "2001:db8::1:1", "[2001:db8:ffff::10]:91", "rs3"},
			{"udp", "2001:db8::1:2", "[2001:db8:ffff::10]:91", "rs2"},
		},
		templates: []string{
			"mark 9 [2001:db8::1:1]:0 > [fd09::d]:0",
			"mark 9 [2001:db8::1:2]:0 > [fd09::c]:0",
		},
	},
}

func service(p ipvs.Protocol, addr string) ipvs.ServiceKey {
	return ipvs.AddrService(p, netip.MustParseAddrPort(addr))
}

// Clients stay with their server as the service says, and the kernel shows for
// each a template and counts it at its destination.
func TestKernelPersistence(t *testing.T) {
	b := newBalancer(t, topo.Spec{Servers: 3, IPv6: true, Router: true}, topo.DR)
	must(t, b.AddVIP(netip.MustParseAddr("192.0.2.11")))
	must(t, b.Prepare(topo.DR))
	must(t, b.Own(b.Client, netip.MustParsePrefix("172.17.0.0/16")))
	for _, tt := range persistent {
		t.Run(tt.name, func(t *testing.T) {
			s := ipvs.Service{ServiceKey: tt.key, Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 300 * time.Second}
			if tt.mask != 0 {
				var err error
				s.Netmask, err = ipvs.PrefixMask(tt.key.AF(), tt.mask)
				must(t, err)
			}
			b.add(t, s, b.all(dr, s)...)
			b.serveAll(t, tt.key.FWMark, tt.asked)
			for _, a := range tt.asked {
				got := b.who(t, a.network, netip.MustParseAddr(a.from), netip.MustParseAddrPort(a.to))
				equal(t, a.network+" "+a.from+" > "+a.to, a.server, got)
			}
			b.wantTemplates(t, s, tt.templates)
		})
	}
}

// all are destinations on all real servers, at the service's port.
func (b *balancer) all(m method, s ipvs.Service) (list []ipvs.Destination) {
	for _, h := range b.Servers {
		own := h.Addr4
		if s.AF() == ipvs.IPv6 {
			own = h.Addr6
		}
		list = append(list, m.destination(own, s.Addr.Port()))
	}
	return list
}

// serveAll serves what is asked for, and marks it on its way in.
func (b *balancer) serveAll(t *testing.T, mark uint32, list []asked) {
	t.Helper()
	done := map[string]bool{}
	for _, a := range list {
		to := netip.MustParseAddrPort(a.to)
		if what := fmt.Sprint(a.network, to.Port()); !done[what] {
			b.serve(t, a.network, to.Port())
			done[what] = true
		}
		if what := a.network + a.to; mark != 0 && !done[what] {
			must(t, b.Director.Mark(a.network, to, mark))
			done[what] = true
		}
	}
}

func (b *balancer) wantTemplates(t *testing.T, s ipvs.Service, want []string) {
	t.Helper()
	soon(t, "templates", want, func() (got []string) {
		for _, c := range b.connections(t, func(c procfs.Connection) bool { return isTemplate(c, s.ServiceKey) }) {
			to := fmt.Sprintf("%s %s > %s", c.ProtocolName(), c.Client, c.Virtual)
			if mark, ok := c.FWMark(); ok {
				to = fmt.Sprintf("mark %d %s", mark, c.Client)
			}
			got = append(got, to+" > "+c.Destination.String())
		}
		return got
	})
	for _, d := range b.all(dr, s) {
		var n uint32
		for _, line := range want {
			if strings.HasSuffix(line, "> "+d.Addr.String()) {
				n++
			}
		}
		equal(t, "templates counted at "+d.Addr.String(), n, b.destination(t, s, d.Addr).Persistent)
	}
}

func isTemplate(c procfs.Connection, k ipvs.ServiceKey) bool {
	if mark, ok := c.FWMark(); ok {
		return mark == k.FWMark && c.Client.Addr().Is6() == (k.AF() == ipvs.IPv6)
	}
	return c.Client.Port() == 0 && c.Protocol == k.Protocol && c.Virtual == k.Addr
}

// A client of a quiesced server stays with it, unless the kernel is told to look
// for another one then.
func TestKernelPersistenceQuiesced(t *testing.T) {
	b := newBalancer(t, topo.Spec{Servers: 2}, topo.NAT)
	s := ipvs.Service{ServiceKey: service(ipvs.TCP, "192.0.2.10:80"), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 300 * time.Second}
	dests := b.all(nat, s)
	b.add(t, s, dests...)
	b.serve(t, "tcp", 80)
	faithful, other := netip.MustParseAddr("172.16.1.1"), netip.MustParseAddr("172.16.1.2")
	equal(t, "first", "rs2", b.who(t, "tcp", faithful, s.Addr))

	dests[1].Weight = 0
	b.do(t, ipvs.UpdateDestination, s, dests[1])
	equal(t, "the client of the quiesced server", "rs2", b.who(t, "tcp", faithful, s.Addr))
	equal(t, "another client", "rs1", b.who(t, "tcp", other, s.Addr))

	must(t, b.Director.Sysctl("net.ipv4.vs.expire_quiescent_template", "1"))
	equal(t, "the client, when its template is not good any more", "rs1", b.who(t, "tcp", faithful, s.Addr))
}
