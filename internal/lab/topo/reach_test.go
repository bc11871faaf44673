package topo_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
)

var shapes = []topo.Spec{
	{Clients: 2, Servers: 2, IPv6: true},
	{Clients: 2, Servers: 2, IPv6: true, Router: true},
}

func shapeName(s topo.Spec) string {
	if s.Router {
		return "router"
	}
	return "two arms"
}

// Every client reaches every server with every protocol, and sees its own
// address arrive, as soon as New and Prepare have returned.
func TestKernelEverybodyReachesEverybody(t *testing.T) {
	for _, spec := range shapes {
		t.Run(shapeName(spec), func(t *testing.T) {
			n := topotest.New(t, spec)
			prepare(t, n, topo.NAT)
			for _, s := range n.Servers {
				for _, network := range []string{"tcp", "udp", "sctp"} {
					serve(t, s, network, 7)
				}
			}
			for _, c := range n.Clients {
				for _, s := range n.Servers {
					for _, network := range []string{"tcp", "udp", "sctp"} {
						ask(t, c, network, netip.AddrPortFrom(c.Addr4, 4000), netip.AddrPortFrom(s.Addr4, 7), s)
						ask(t, c, network, netip.AddrPortFrom(c.Addr6, 4000), netip.AddrPortFrom(s.Addr6, 7), s)
					}
				}
			}
		})
	}
}

// ask wants an answer of server in which nobody has changed an address.
func ask(t *testing.T, c *topo.Host, network string, from, to netip.AddrPort, server *topo.Host) {
	t.Helper()
	conn, err := c.Dial(t.Context(), network, from, to)
	if err != nil {
		t.Fatal(err)
	}
	got, err := conn.Ask(t.Context())
	if err := errors.Join(err, conn.Reset()); err != nil {
		t.Fatalf("%s: %v", network, err)
	}
	want := topo.Answer{Server: server.Name, Local: to, Remote: from}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
		t.Errorf("%s %s from %s: -want +got\n%s", network, to, from, diff)
	}
}

var compareAddrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func prepare(t *testing.T, n *topo.Net, m topo.Method) {
	t.Helper()
	if err := n.Prepare(m); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, h *topo.Host, network string, port uint16) *topo.Server {
	t.Helper()
	s, err := h.Serve(network, port)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Before Prepare a server has no way back to a client.
func TestKernelUnpreparedServerIsUnreachable(t *testing.T) {
	n := topotest.New(t, topo.Spec{Router: true})
	serve(t, n.Servers[0], "tcp", 7)
	to := netip.AddrPortFrom(n.Servers[0].Addr4, 7)
	if _, err := n.Director.Ask(t.Context(), "tcp", netip.AddrPort{}, to); err != nil {
		t.Errorf("the director does not reach it: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if a, err := n.Client.Ask(ctx, "tcp", netip.AddrPort{}, to); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answer %v, error %v, want a time-out", a, err)
	}
}

func TestKernelClientAddresses(t *testing.T) {
	n := topotest.New(t, topo.Spec{Clients: 2, IPv6: true, Router: true})
	prepare(t, n, topo.NAT)
	rs, other := n.Servers[0], n.Clients[1]
	for _, network := range []string{"tcp", "udp"} {
		serve(t, rs, network, 7)
	}
	for _, p := range []string{"100.64.0.0/10", "2001:db8:abc::/48"} {
		if err := n.Own(other, netip.MustParsePrefix(p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		host *topo.Host
		from string
	}{
		{n.Client, "172.16.0.0:1"}, {n.Client, "172.16.255.255:65535"}, {n.Client, "[2001:db8:0:ffff::]:5"},
		{other, "172.17.3.4:5"}, {other, "100.127.1.2:80"}, {other, "[2001:db8:abc::1]:7"},
	} {
		to := netip.AddrPortFrom(rs.Addr4, 7)
		from := netip.MustParseAddrPort(c.from)
		if from.Addr().Is6() {
			to = netip.AddrPortFrom(rs.Addr6, 7)
		}
		for range 2 { // again at once: the port is free after Reset
			ask(t, c.host, "tcp", from, to, rs)
		}
		ask(t, c.host, "udp", from, to, rs)
	}
}

// Refusal is a result.
func TestKernelRefused(t *testing.T) {
	n := topotest.New(t, topo.Spec{IPv6: true})
	prepare(t, n, topo.NAT)
	rs := n.Servers[0]
	for _, network := range []string{"tcp", "udp", "sctp"} {
		s := serve(t, rs, network, 7)
		s.Close()
		for _, addr := range []netip.Addr{rs.Addr4, rs.Addr6} {
			a, err := n.Client.Ask(t.Context(), network, netip.AddrPort{}, netip.AddrPortFrom(addr, 7))
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s %s: answer %v, error %v, want refused", network, addr, a, err)
			}
		}
	}
}

// A connection stays open until one of the two ends it.
func TestKernelHeldConnection(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	prepare(t, n, topo.NAT)
	to := netip.AddrPortFrom(n.Servers[0].Addr4, 7)
	serve(t, n.Servers[0], "tcp", 7)
	for _, end := range []string{"fin", "close"} {
		c, err := n.Client.Dial(t.Context(), "tcp", netip.AddrPort{}, to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, say := range []string{"name", "name", end} {
			if a, err := c.Say(t.Context(), say); err != nil || a.Server != "rs1" {
				t.Fatalf("%s: answer %v, error %v", say, a, err)
			}
		}
		if _, err := c.Ask(t.Context()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %s: error %v, want the end of the connection", end, err)
		}
	}
}

func TestKernelHTTP(t *testing.T) {
	n := topotest.New(t, topo.Spec{IPv6: true})
	prepare(t, n, topo.NAT)
	serve(t, n.Servers[0], "tcp", 80)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		return n.Client.Dial(ctx, network, netip.AddrPort{}, to)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, body := range []string{"", "a body"} {
		url := fmt.Sprintf("http://[%s]/some/path", n.Servers[0].Addr6)
		resp, err := client.Post(url, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var text [200]byte
		length, _ := resp.Body.Read(text[:])
		resp.Body.Close()
		a, err := topo.ParseAnswer(string(text[:length]))
		if err != nil || a.Server != "rs1" || a.Remote.Addr() != n.Client.Addr6 {
			t.Errorf("answer %v, error %v", a, err)
		}
	}
}

// Nets do not see each other, though all have the same addresses.
func TestKernelSeveralNetsAtOnce(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			n := topotest.New(t, topo.Spec{Servers: i + 1})
			prepare(t, n, topo.NAT)
			last := n.Servers[i]
			serve(t, last, "tcp", uint16(100+i))
			ask(t, n.Client, "tcp", netip.AddrPortFrom(n.Client.Addr4, 4000), netip.AddrPortFrom(last.Addr4, uint16(100+i)), last)
		})
	}
}
