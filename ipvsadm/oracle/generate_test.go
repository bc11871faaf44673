package oracle

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// reach says how far a random table goes.
type reach int

const (
	near   reach = iota // whatever ipvsadm lists in the right order
	far                 // also addresses far apart, whose order it gets wrong, and mixed families
	beyond              // also what it saves in a form that it cannot restore
)

// generator makes random tables of all that ipvsadm's language can say.
type generator struct {
	*rand.Rand
	reach reach
}

func (g *generator) table(services int) (t ipvs.Table) {
	taken := map[ipvs.ServiceKey]bool{}
	for len(t) < services {
		s := g.service()
		if taken[s.ServiceKey] {
			continue
		}
		taken[s.ServiceKey] = true
		t = append(t, ipvs.Entry{Service: s, Destinations: g.destinations(&s)})
	}
	return t
}

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}

func (g *generator) service() ipvs.Service {
	s := ipvs.Service{ServiceKey: g.key(), Scheduler: pick(g, schedulers...)}
	if s.FWMark == 0 && s.Addr.Port() == 0 || g.one(3) {
		s.Flags |= ipvs.Persistent
		s.Timeout = time.Duration(1+g.upTo(2678399)) * time.Second
		s.Netmask = g.netmask(s.AF())
	}
	if (s.FWMark != 0 || s.Protocol == ipvs.UDP) && g.one(4) {
		s.Flags |= ipvs.OnePacket
	}
	if g.one(3) {
		s.Flags |= ipvs.Flags(g.IntN(8)) << 3
		if (s.Scheduler == "sh" || s.Scheduler == "mh") && g.reach < beyond {
			s.Flags &^= ipvs.Sched3
		}
	}
	if g.one(8) {
		s.PE = "sip"
	}
	return s
}

func (g *generator) key() ipvs.ServiceKey {
	family := pick(g, ipvs.IPv4, ipvs.IPv6)
	if g.one(4) {
		mark := 1 + g.Uint32N(1<<31-1)
		if g.reach == beyond {
			mark |= g.Uint32N(2) << 31
		}
		return ipvs.MarkService(mark, family)
	}
	port := uint16(g.IntN(1 << 16))
	if g.one(10) {
		port = 0
	}
	return ipvs.AddrService(pick(g, ipvs.TCP, ipvs.UDP, ipvs.SCTP), netip.AddrPortFrom(g.addr(family), port))
}

// addr is a unicast address. Near ones are less than 2^31 apart in each of their
// words.
func (g *generator) addr(f ipvs.Family) netip.Addr {
	if f == ipvs.IPv4 {
		top := []int{1 + g.IntN(126)}
		if g.reach > near {
			top = append(top, 128+g.IntN(96))
		}
		return netip.AddrFrom4([4]byte{byte(pick(g, top...)), byte(g.Uint32()), byte(g.Uint32()), byte(g.Uint32())})
	}
	var a [16]byte
	for i := 0; i < 16; i += 4 {
		word := pick(g, 0, g.Uint32N(1<<16), g.Uint32N(1<<31))
		if g.reach > near && i > 0 {
			word |= g.Uint32N(2) << 31
		}
		binary.BigEndian.PutUint32(a[i:], word)
	}
	if g.one(8) { // ::192.0.2.1 has a spelling of its own
		clear(a[:12])
		a[12] |= 1
	} else if a[0] == 0 {
		a[0] = 0x20
	}
	return netip.AddrFrom16(a)
}

func (g *generator) netmask(f ipvs.Family) ipvs.Netmask {
	if g.one(2) {
		return ipvs.Netmask{}
	}
	if f == ipvs.IPv4 && g.one(4) { // not contiguous
		var m [4]byte
		binary.BigEndian.PutUint32(m[:], g.Uint32())
		return ipvs.Netmask4(m)
	}
	bits := 32
	if f == ipvs.IPv6 {
		bits = 128
	}
	m, err := ipvs.PrefixMask(f, 1+g.IntN(bits))
	if err != nil {
		panic(err)
	}
	return m
}

func (g *generator) destinations(s *ipvs.Service) (list []ipvs.Destination) {
	taken := map[netip.AddrPort]bool{}
	for range g.IntN(6) {
		if d := g.destination(s); !taken[d.Addr] {
			taken[d.Addr] = true
			list = append(list, d)
		}
	}
	return list
}

func (g *generator) destination(s *ipvs.Service) ipvs.Destination {
	d := ipvs.Destination{Method: pick(g, ipvs.NAT, ipvs.DirectRoute, ipvs.Tunnel), Weight: int32(g.upTo(1<<31 - 1))}
	family := s.AF()
	if d.Method == ipvs.Tunnel {
		d.Encap = g.encap()
		if g.reach > near && g.one(3) {
			family = pick(g, ipvs.IPv4, ipvs.IPv6)
		}
	}
	port := uint16(g.IntN(1 << 16))
	if s.FWMark == 0 && d.Method != ipvs.NAT || g.one(3) {
		port = s.Addr.Port() // ipvsadm's language knows no other
	}
	d.Addr = netip.AddrPortFrom(g.addr(family), port)
	if g.one(3) {
		d.Upper = uint32(g.upTo(1<<31 - 1))
		d.Lower = uint32(g.upTo(int64(d.Upper)))
	}
	return d
}

func (g *generator) encap() ipvs.Encap {
	switch g.IntN(3) {
	case 0:
		return ipvs.Encap{Type: ipvs.GRE, Flags: pick(g, 0, ipvs.Csum)}
	case 1:
		return ipvs.Encap{Type: ipvs.GUE, Port: uint16(1 + g.IntN(1<<16-1)), Flags: pick(g, 0, ipvs.Csum, ipvs.RemCsum)}
	}
	return ipvs.Encap{}
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

// upTo is a number of 0 to max, with a liking for small ones and for the ends.
func (g *generator) upTo(most int64) int64 {
	return pick(g, 0, most, min(most, int64(g.IntN(200))), g.Int64N(most+1))
}

func pick[T any](g *generator, choice ...T) T { return choice[g.IntN(len(choice))] }
