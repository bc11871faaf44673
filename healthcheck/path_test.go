package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
)

const pathMark = 1 << 16 // of the first server's own service

// How long checks have that must succeed on a busy machine, and that must not.
const (
	patience = time.Minute
	soon     = 3 * time.Second
)

// TestKernelPath: a check by the path goes to the VIP, and the kernel forwards
// it to one server as it forwards clients. So a server that forgot its VIP is
// found, which a check of its own address is not.
func TestKernelPath(t *testing.T) {
	for _, method := range []topo.Method{topo.DR, topo.IPIP, topo.NAT} {
		t.Run(string(method), func(t *testing.T) {
			n := topotest.New(t, topo.Spec{Servers: 2, Router: method != topo.NAT})
			must(t, n.Prepare(method))
			for _, s := range n.Servers {
				server, err := s.Serve("tcp", 80)
				must(t, err)
				defer server.Close()
			}
			markServices(t, n, method)
			if method != topo.NAT {
				expectDeaf(t, n, method)
			}
			for i := range n.Servers {
				expectUp(t, n, method, i, healthcheck.ViaReal)
				expectUp(t, n, method, i, healthcheck.ViaPath)
			}
			if method == topo.NAT {
				return
			}
			forgetVIP(t, n.Servers[0], n.VIP4)
			expectUp(t, n, method, 0, healthcheck.ViaReal)
			if res := probe(t, n, method, 0, healthcheck.ViaPath, soon); healthcheck.Judge(res.Err) != healthcheck.Down {
				t.Errorf("a server without its VIP: %v\n%s", res.Err, res.Transcript)
			}
			expectUp(t, n, method, 1, healthcheck.ViaPath)
		})
	}
}

// markServices makes what the director makes for checks by the path: for each
// server a service of its own by firewall mark.
func markServices(t *testing.T, n *topo.Net, method topo.Method) {
	t.Helper()
	forward := map[topo.Method]ipvs.Method{topo.DR: ipvs.DirectRoute, topo.IPIP: ipvs.Tunnel, topo.NAT: ipvs.NAT}[method]
	must(t, n.Director.Do(func() error {
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		var changes []ipvs.Change
		for i, s := range n.Servers {
			service := ipvs.Service{ServiceKey: ipvs.MarkService(uint32(pathMark+i), ipvs.IPv4), Scheduler: "rr"}
			changes = append(changes, ipvs.Change{Op: ipvs.AddService, Service: service},
				ipvs.Change{Op: ipvs.AddDestination, Service: service, Destination: ipvs.Destination{
					Addr: netip.AddrPortFrom(s.Addr4, 0), Method: forward, Weight: 1,
				}})
		}
		return c.Apply(slices.Values(changes))
	}))
}

// expectDeaf: answers come from the VIP, which is the director's own address. As
// long as the kernel drops them, that is the director's trouble.
func expectDeaf(t *testing.T, n *topo.Net, method topo.Method) {
	t.Helper()
	res := probe(t, n, method, 0, healthcheck.ViaPath, soon)
	if healthcheck.Judge(res.Err) != healthcheck.Unknown || !strings.Contains(res.Err.Error(), "accept_local") {
		t.Errorf("without accept_local: %v", res.Err)
	}
	must(t, n.Director.Sysctl("net.ipv4.conf.all.accept_local", "1"))
	// On a link of its own a strict filter takes the VIP's answers for forged.
	link := move(t, n.Director, n.VIP4, "lo")
	must(t, n.Director.Sysctl("net.ipv4.conf.all.rp_filter", "1"))
	res = probe(t, n, method, 0, healthcheck.ViaPath, soon)
	if healthcheck.Judge(res.Err) != healthcheck.Unknown || !strings.Contains(res.Err.Error(), "rp_filter=2") {
		t.Errorf("with a strict rp_filter: %v", res.Err)
	}
	must(t, n.Director.Sysctl("net.ipv4.conf.all.rp_filter", "2"))
	expectUp(t, n, method, 0, healthcheck.ViaPath)
	move(t, n.Director, n.VIP4, link)
}

// move gives an address to another link and returns which had it.
func move(t *testing.T, h *topo.Host, a netip.Addr, to string) (from string) {
	t.Helper()
	must(t, h.Do(func() error {
		all, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		next, err := netlink.LinkByName(to)
		if err != nil {
			return err
		}
		for _, has := range all {
			if !has.IP.Equal(a.AsSlice()) {
				continue
			}
			link, err := netlink.LinkByIndex(has.LinkIndex)
			if err != nil {
				return err
			}
			from = link.Attrs().Name
			return errors.Join(netlink.AddrDel(link, &netlink.Addr{IPNet: has.IPNet}), netlink.AddrAdd(next, &netlink.Addr{IPNet: has.IPNet}))
		}
		return fmt.Errorf("no link has %v", a)
	}))
	return from
}

func expectUp(t *testing.T, n *topo.Net, method topo.Method, i int, via string) {
	t.Helper()
	res := probe(t, n, method, i, via, patience)
	if res.Err != nil {
		t.Errorf("rs%d via %s: %v\n%s", i+1, via, res.Err, res.Transcript)
	}
}

// probe asks server i for its name by HTTP, from the director.
func probe(t *testing.T, n *topo.Net, method topo.Method, i int, via string, within time.Duration) (res healthcheck.Result) {
	t.Helper()
	check := healthcheck.Check{Type: "http", Via: via, Receive: n.Servers[i].Name}
	target := healthcheck.Target{
		Real: netip.AddrPortFrom(n.Servers[i].Addr4, 80), Virtual: netip.AddrPortFrom(n.VIP4, 80), Mark: uint32(pathMark + i), Direct: method != topo.NAT,
	}
	must(t, n.Director.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		res, err = healthcheck.Look(ctx, check, target)
		return err
	}))
	return res
}

func forgetVIP(t *testing.T, h *topo.Host, vip netip.Addr) {
	t.Helper()
	must(t, h.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(netip.PrefixFrom(vip, vip.BitLen()).String())
		if err != nil {
			return err
		}
		return netlink.AddrDel(lo, addr)
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
