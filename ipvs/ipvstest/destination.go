package ipvstest

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

type destination struct {
	ipvs.DestinationInfo
	owner *service // the service it is or was last in
}

// trashKey is what the trash finds a destination by. Of a mark it does not look
// at the service's family.
type trashKey struct {
	of   ipvs.ServiceKey
	addr netip.AddrPort
}

func trashed(svc *service, a netip.AddrPort) trashKey {
	of := svc.ServiceKey
	if of.FWMark != 0 {
		of.Family = 0
	}
	return trashKey{of, a}
}

func (svc *service) lookup(a netip.AddrPort) (at int) {
	return slices.IndexFunc(svc.destinations, func(d *destination) bool { return d.Addr == a })
}

// addDestination is ip_vs_add_dest. The order of the checks is the kernel's.
func (s *state) addDestination(k ipvs.ServiceKey, want ipvs.Destination) unix.Errno {
	svc, errno := s.find(k)
	if errno == 0 {
		errno = s.checkDestination(svc, want)
	}
	if errno != 0 {
		return errno
	}
	if svc.lookup(want.Addr) >= 0 {
		return unix.EEXIST
	}
	d := s.recover(svc, want.Addr)
	if d == nil {
		if !reachable(want.Addr.Addr()) {
			return unix.EINVAL
		}
		d = &destination{owner: svc}
	}
	if d.owner != svc {
		d.Stats, d.owner = ipvs.Stats{}, svc
	}
	d.Destination = want
	svc.destinations = append(svc.destinations, d)
	if mixed(svc, want) {
		s.mixed++
	}
	return 0
}

// updateDestination is ip_vs_edit_dest: everything is replaced, the place in
// the list stays.
func (s *state) updateDestination(k ipvs.ServiceKey, want ipvs.Destination) unix.Errno {
	svc, errno := s.find(k)
	if errno == 0 {
		errno = s.checkDestination(svc, want)
	}
	if errno != 0 {
		return errno
	}
	i := svc.lookup(want.Addr)
	if i < 0 {
		return unix.ENOENT
	}
	svc.destinations[i].Destination = want
	return 0
}

// checkDestination is what adding and editing have in common
// (ip_vs_genl_set_cmd, then ip_vs_add_dest and ip_vs_edit_dest).
func (s *state) checkDestination(svc *service, want ipvs.Destination) unix.Errno {
	switch {
	case mixed(svc, want) && (len(s.daemons) > 0 || want.Method != ipvs.Tunnel):
		return unix.EINVAL
	case want.Weight < 0, want.Lower > want.Upper:
		return unix.ERANGE
	case want.Encap.Type == ipvs.GUE && want.Encap.Port == 0:
		return unix.EINVAL
	}
	return 0
}

func mixed(svc *service, d ipvs.Destination) bool {
	return d.Addr.Addr().Is4() != (svc.AF() == ipvs.IPv4)
}

// reachable is what ip_vs_new_dest asks inet_addr_type and ipv6_addr_type: the
// address must be unicast or local, and IPv6 neither link-local nor a mapped
// IPv4 address.
func reachable(a netip.Addr) bool {
	switch {
	case a.Is4():
		return !a.IsUnspecified() && !a.IsMulticast() &&
			a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
			a != netip.AddrFrom4([4]byte{127, 255, 255, 255}) // broadcast of lo
	case a.Is4In6():
		return false
	}
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// deleteDestination is ip_vs_del_dest.
func (s *state) deleteDestination(k ipvs.ServiceKey, a netip.AddrPort) unix.Errno {
	svc, errno := s.find(k)
	if errno != 0 {
		return errno
	}
	i := svc.lookup(a)
	if i < 0 {
		return unix.ENOENT
	}
	s.bin(svc, svc.destinations[i])
	svc.destinations = slices.Delete(svc.destinations, i, i+1)
	return 0
}

// bin puts a removed destination into the trash (__ip_vs_del_dest).
func (s *state) bin(svc *service, d *destination) {
	if mixed(svc, d.Destination) {
		s.mixed--
	}
	id := trashed(svc, d.Addr)
	s.trash[id] = append(s.trash[id], d)
}

// recover takes a destination back out of the trash (ip_vs_trash_get_dest).
// Its connections come back with it, and its counters when it was this very
// service's and not those of one that was deleted meanwhile.
func (s *state) recover(svc *service, a netip.AddrPort) *destination {
	id := trashed(svc, a)
	in := s.trash[id]
	if len(in) == 0 {
		return nil
	}
	s.trash[id] = in[:len(in)-1]
	return in[len(in)-1]
}

// EmptyTrash forgets all removed destinations, as the kernel does when nothing
// has referred to them for two to four minutes.
func (k *Kernel) EmptyTrash() {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	clear(k.state.trash)
}

// listed is the kernel's order: the newest first.
func (svc *service) listed() []ipvs.DestinationInfo {
	out := make([]ipvs.DestinationInfo, 0, len(svc.destinations))
	for _, d := range slices.Backward(svc.destinations) {
		out = append(out, d.DestinationInfo)
	}
	return out
}
