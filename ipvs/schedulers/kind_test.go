package schedulers

import (
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// kind is what a random run is about. The zero values are TCP over IPv4 to one
// virtual address.
type kind struct {
	name            string
	scheduler       string
	flags           ipvs.Flags
	protocol        string
	family          ipvs.Family
	marked          bool   // a firewall mark for several virtual addresses
	thresholds      bool   // servers get thresholds
	expires         int    // how often connections expire, which takes a second or two
	switches        string // another scheduler to switch to and back from
	persistent      int    // prefix length of the netmask
	expireQuiescent bool
	prompt          bool // the kernel's thresholds, see prompt
}

func (k kind) withDefaults() kind {
	if k.protocol == "" {
		k.protocol = "tcp"
	}
	if k.family == 0 {
		k.family = ipvs.IPv4
	}
	return k
}

// service takes the next port or mark of the network.
func (k kind) service(n *network) ipvs.Service {
	n.port++
	s := ipvs.Service{Scheduler: k.scheduler, Flags: k.flags}
	if k.persistent != 0 {
		s.Flags |= ipvs.Persistent
		s.Timeout = 5 * time.Minute
		s.Netmask, _ = ipvs.PrefixMask(k.family, k.persistent)
	}
	if k.marked {
		n.mark++
		s.ServiceKey = ipvs.MarkService(n.mark, k.family)
	} else {
		s.ServiceKey = ipvs.AddrService(protocols[k.protocol], netip.AddrPortFrom(k.vip(n), n.port))
	}
	return s
}

func (k kind) vip(n *network) netip.Addr {
	if k.family == ipvs.IPv6 {
		return n.VIP6
	}
	return n.VIP4
}

// virtuals are the addresses that connections go to.
func (k kind) virtuals(t *testing.T, n *network) []netip.AddrPort {
	t.Helper()
	if !k.marked {
		return []netip.AddrPort{netip.AddrPortFrom(k.vip(n), n.port)}
	}
	var list []netip.AddrPort
	a := k.vip(n)
	for range 6 {
		must(t, n.AddVIP(a)) // again is no error
		to := netip.AddrPortFrom(a, n.port)
		must(t, n.Director.Mark(k.protocol, to, n.mark))
		list = append(list, to)
		a = a.Next()
	}
	return list
}
