package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// TestKernelPath6: checks by the path of two IPv6 services with the same servers,
// beside a service of a mark of somebody else's: a server that lost one virtual
// address is out of that service and no other, what others take from the table
// comes back, and nothing is left when no check goes so any more.
func TestKernelPath6(t *testing.T) {
	for method, forward := range map[topo.Method]string{topo.NAT: "nat", topo.DR: "dr", topo.IPIP: "tun"} {
		t.Run(forward, func(t *testing.T) {
			r := newBareRig(t, topo.Spec{Servers: 2, Router: method != topo.NAT, IPv6: true})
			second := netip.MustParseAddr("2001:db8:ffff::11")
			r.must(r.net.AddVIP(second))
			r.must(r.net.Prepare(method))
			serveAll(r)
			foreign := ipvs.Service{ServiceKey: ipvs.MarkService(7, ipvs.IPv6), Scheduler: "wlc"}
			r.must(r.client.Do(ipvs.Change{Op: ipvs.AddService, Service: foreign}))

			vips := []netip.Addr{r.net.VIP6, second}
			file := func(via string) string {
				var text strings.Builder
				text.WriteString("hold_on_mass_failure = 1.0\n[check]\ninterval = \"200ms\"\ntimeout = \"2s\"\n")
				for _, v := range vips {
					fmt.Fprintf(&text, "[[virtual]]\naddress = \"[%s]:80\"\nscheduler = \"rr\"\nforward = %q\n[virtual.check]\ntype = \"http\"\nvia = %q\n", v, forward, via)
					for _, s := range r.net.Servers {
						fmt.Fprintf(&text, "[[virtual.real]]\naddress = \"[%s]:80\"\n", s.Addr6)
					}
				}
				return text.String()
			}
			// Weights of the first server in the services, and how many services there
			// are for checks.
			table := func(weights [2]int, paths int) func() bool {
				var want strings.Builder
				for i, v := range vips {
					fmt.Fprintf(&want, "tcp [%s]:80 rr\n  [%s]:80 %s %d\n  [%s]:80 %s 1\n", v, r.net.Servers[0].Addr6, forward, weights[i], r.net.Servers[1].Addr6, forward)
				}
				return func() bool {
					got := r.table()
					return strings.Contains(got+"\n", want.String()) && strings.Contains(got, foreign.ServiceKey.String()) && strings.Count(got, "fwmark") == paths+1
				}
			}
			r.file(file("path"))
			r.start()
			r.await("all are in, each with a path", table([2]int{1, 1}, 4))
			r.must(r.client.Do(ipvs.Change{Op: ipvs.DeleteService, Service: r.aPath(foreign.ServiceKey)}))
			r.await("a path that somebody took is back, and all are in", table([2]int{1, 1}, 4))
			if method != topo.NAT {
				r.must(r.net.Servers[0].Do(func() error {
					places, err := vip.Find(second)
					for _, p := range places {
						_, e := vip.Delete(second, p.Dev)
						err = errors.Join(err, e)
					}
					return err
				}))
				r.await("rs1 is out of the service whose address it lost", table([2]int{1, 0}, 4))
			}
			r.kill()
			r.file(file("real"))
			r.start()
			r.await("nothing is left of the paths", table([2]int{1, 1}, 0))
		})
	}
}

// aPath is a service that was made for a check.
func (r *rig) aPath(foreign ipvs.ServiceKey) ipvs.Service {
	r.Helper()
	services, err := r.client.Services()
	r.must(err)
	for _, s := range services {
		if s.FWMark != 0 && s.ServiceKey != foreign {
			return s.Service
		}
	}
	r.Fatal("there is no service for a check")
	return ipvs.Service{}
}
