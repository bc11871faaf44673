package ipvstest

import (
	"slices"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

type service struct {
	ipvs.ServiceInfo
	// destinations are in the order they were added; the kernel lists them in
	// the opposite one (list_add_rcu in __ip_vs_update_dest).
	destinations []*destination
}

// key is k as the kernel files it: a mark has neither protocol nor address.
func key(k ipvs.ServiceKey) ipvs.ServiceKey {
	if k.FWMark != 0 {
		return ipvs.MarkService(k.FWMark, k.Family)
	}
	return ipvs.AddrService(k.Protocol, k.Addr)
}

// find is ip_vs_genl_parse_service for a command that needs a service.
func (s *state) find(k ipvs.ServiceKey) (*service, unix.Errno) {
	if af := k.AF(); af != ipvs.IPv4 && af != ipvs.IPv6 {
		return nil, unix.EAFNOSUPPORT
	}
	svc := s.services[key(k)]
	if svc == nil {
		return nil, unix.ESRCH
	}
	return svc, 0
}

// addService is ip_vs_add_service.
func (s *state) addService(want ipvs.Service) unix.Errno {
	switch _, errno := s.find(want.ServiceKey); errno {
	case 0:
		return unix.EEXIST
	case unix.ESRCH:
	default:
		return errno
	}
	if errno := s.checkService(want); errno != 0 {
		return errno
	}
	want.ServiceKey = key(want.ServiceKey)
	svc := &service{ServiceInfo: ipvs.ServiceInfo{Service: want}}
	s.services[want.ServiceKey] = svc
	s.order = append(s.order, svc)
	return 0
}

// listed is the kernel's order: it has a hash table for addresses and one for
// marks, and lists the first first. Within each the fake keeps the order of
// adding, which the kernel does not promise.
func (s *state) listed() []*service {
	out := make([]*service, 0, len(s.order))
	for _, marks := range []bool{false, true} {
		for _, svc := range s.order {
			if (svc.FWMark != 0) == marks {
				out = append(out, svc)
			}
		}
	}
	return out
}

// updateService is ip_vs_edit_service.
func (s *state) updateService(want ipvs.Service) unix.Errno {
	svc, errno := s.find(want.ServiceKey)
	if errno == 0 {
		errno = s.checkService(want)
	}
	if errno != 0 {
		return errno
	}
	want.ServiceKey = svc.ServiceKey
	svc.Service = want
	return 0
}

// checkService is what adding and editing have in common.
func (s *state) checkService(want ipvs.Service) unix.Errno {
	if want.Scheduler != "none" && !slices.Contains(s.machine.Schedulers, want.Scheduler) {
		return unix.ENOENT
	}
	if want.PE != "" && !slices.Contains(s.machine.Engines, want.PE) {
		return unix.ENOENT
	}
	if _, ok := want.Netmask.Prefix(ipvs.IPv6); !ok && want.AF() == ipvs.IPv6 {
		return unix.EINVAL
	}
	return 0
}

// deleteService is ip_vs_del_service.
func (s *state) deleteService(k ipvs.ServiceKey) unix.Errno {
	svc, errno := s.find(k)
	if errno != 0 {
		return errno
	}
	s.drop(svc)
	s.order = slices.DeleteFunc(s.order, func(o *service) bool { return o == svc })
	return 0
}

func (s *state) drop(svc *service) {
	for _, d := range slices.Backward(svc.destinations) {
		s.bin(svc, d)
	}
	delete(s.services, svc.ServiceKey)
}

// flush is ip_vs_flush.
func (s *state) flush() unix.Errno {
	for _, svc := range s.order {
		s.drop(svc)
	}
	s.order = nil
	return 0
}

// zeroService is ip_vs_zero_service. Counters of connections stay.
func (s *state) zeroService(k ipvs.ServiceKey) unix.Errno {
	svc, errno := s.find(k)
	if errno == 0 {
		svc.zero()
	}
	return errno
}

func (s *state) zero() unix.Errno {
	for _, svc := range s.order {
		svc.zero()
	}
	return 0
}

func (svc *service) zero() {
	svc.Stats = ipvs.Stats{}
	for _, d := range svc.destinations {
		d.Stats = ipvs.Stats{}
	}
}
