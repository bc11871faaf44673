package main

import (
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

// kernelPlane has the director's kernel do what the proxies do: IPVS by NAT,
// and local addresses by nftables. It has no process, so with it the CPU of the
// whole machine is compared.
func (b *bench) kernelPlane(base uint16) error {
	var table ipvs.Table
	var local []snat.Service
	for p := range uint16(ports) {
		proto := ipvs.TCP
		if p == portEcho {
			proto = ipvs.UDP
		}
		e := ipvs.Entry{Service: ipvs.Service{ServiceKey: ipvs.AddrService(proto, netip.AddrPortFrom(b.net.VIP4, base+p)), Scheduler: "wlc"}}
		for _, h := range b.net.Servers {
			e.Destinations = append(e.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(h.Addr4, serverBase+p), Method: ipvs.NAT, Weight: 1})
		}
		table = append(table, e)
		local = append(local, snat.Service{Key: e.Service.ServiceKey, Locals: locals()})
	}
	return b.net.Director.Do(func() error {
		settings := []sysctl.Setting{{Knob: sysctl.VS("conntrack"), Value: "1"}, {Knob: "net/ipv4/ip_forward", Value: "1"}}
		if _, err := (sysctl.Netns{}).SetAll(settings...); err != nil {
			return err
		}
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := ipvs.Reconcile(c, table, ipvs.ReconcileOptions{}); err != nil {
			return err
		}
		_, err = new(snat.Plane).Apply(local)
		return err
	})
}

// machineCPU is what all CPUs have worked, in nanoseconds (/proc/stat, in
// hundredths of a second).
func machineCPU() (sum float64) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, word := range strings.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 6 { // idle, iowait, and time of others
			continue
		}
		n, _ := strconv.ParseFloat(word, 64)
		sum += n * 1e7
	}
	return sum
}
