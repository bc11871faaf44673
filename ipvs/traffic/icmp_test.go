package traffic_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// A real server without a listener refuses the client: by a reset over tcp, by
// ICMP over udp. By NAT both pass the director, which must change the packet
// inside the ICMP message, too, or the client takes it for somebody else's.
//
// Not so over IPv6: handle_response_icmp (net/netfilter/ipvs/ip_vs_core.c) of
// Linux 6.1 checks the sum of an ICMPv6 message without its pseudo-header, finds
// it wrong and drops the message.
func TestKernelServerRefuses(t *testing.T) {
	b := newBalancer(t, topo.Spec{IPv6: true, Router: true}, topo.NAT)
	for _, tt := range []struct {
		method    method
		transport transport
		own       func(*topo.Host) netip.Addr
	}{
		{nat, tcp, addr4}, {nat, tcp, addr6}, {nat, udp, addr4},
		{dr, tcp, addr4}, {dr, tcp, addr6}, {dr, udp, addr4}, {dr, udp, addr6},
	} {
		client, real := b.from(tt.own(b.Client)), tt.own(b.Servers[0])
		t.Run(tt.method.name+" "+tt.transport.name+" "+client.Addr().String(), func(t *testing.T) {
			must(t, b.Prepare(tt.method.prepare))
			vip := b.from(b.vip(client.Addr()))
			s := ipvs.Service{ServiceKey: ipvs.AddrService(tt.transport.protocol, vip), Scheduler: "rr"}
			b.add(t, s, tt.method.destination(real, vip.Port()))
			atServer := topotest.Capture(t, b.Servers[0], "eth0")
			_, server := b.open(t, tt.transport.network, client, vip)
			equal(t, "server", "refused", server)
			equal(t, "question and refusal at the server", 2, len(b.packets(t, atServer)))
		})
	}
}

// A datagram in fragments, of which only the first has ports, reaches one server
// in one piece. By NAT the other way, too.
func TestKernelFragments(t *testing.T) {
	b := newBalancer(t, topo.Spec{Servers: 2, IPv6: true, Router: true}, topo.NAT)
	for _, m := range []method{nat, dr} {
		must(t, b.Prepare(m.prepare))
		for _, own := range []func(*topo.Host) netip.Addr{addr4, addr6} {
			client := b.from(own(b.Client))
			t.Run(m.name+" "+client.Addr().String(), func(t *testing.T) {
				vip := b.from(b.vip(client.Addr()))
				s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, vip), Scheduler: "rr"}
				b.add(t, s, b.all(m, s)...)
				b.serve(t, "udp", vip.Port())
				c, server := b.open(t, "udp", client, vip)
				atRouter := topotest.Capture(t, b.Router, "client1")
				for range 3 {
					a, err := c.Say(t.Context(), strings.Repeat("x", 4000))
					must(t, err)
					equal(t, "server", server, a.Server)
				}
				if p := b.packets(t, atRouter); len(p) < 3*4 {
					t.Errorf("%d packets only: no fragments", len(p))
				}
			})
		}
	}
}
