package director

import (
	"hash/fnv"
	"net/netip"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// Marks of checks by the path: a range of their own, far from what people number
// their rules with.
const (
	firstMark = 0x40000000
	markMask  = 0x3fffffff
)

// path makes the service by which checks reach one real server the way that
// clients' packets do: packets to the virtual address with a mark that only our
// checks set go to that server and no other. It returns the mark, which is
// always the same for a server, so that a reload sends no check elsewhere.
func (b *builder) path(id ServerID, r *config.Real) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.String()))
	mark := firstMark | h.Sum32()&markMask
	for b.marks[mark] {
		if i := b.pathOf(mark, id); i >= 0 {
			return mark // of another check of the same server
		}
		mark = firstMark | (mark+1)&markMask
	}
	b.marks[mark] = true
	d := r.Destination()
	d.Weight, d.Upper, d.Lower = 1, 0, 0
	if d.Method != ipvs.NAT {
		d.Addr = netip.AddrPortFrom(d.Addr.Addr(), 0)
	}
	b.setup.Services = append(b.setup.Services, VirtualService{
		Name:    "check of " + id.String(),
		Service: ipvs.Service{ServiceKey: ipvs.MarkService(mark, id.Service.AF()), Scheduler: "rr"},
		Servers: []RealServer{{Name: id.String(), Destination: d}}, UncheckedUp: true, Path: true,
	})
	return mark
}

// pathOf finds the path service of a mark, when it is that server's.
func (b *builder) pathOf(mark uint32, id ServerID) int {
	for i := range b.setup.Services {
		s := &b.setup.Services[i]
		if s.Path && s.Service.FWMark == mark && s.Servers[0].Name == id.String() {
			return i
		}
	}
	return -1
}
