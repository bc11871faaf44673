package doctor_test

import (
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
)

// large are faults of large tables.
func (s *site) large() []fault {
	return []fault{s.crowded(), s.estimates()}
}

// estimates are more services and real servers than the kernel's timer looks
// through without being felt.
func (s *site) estimates() fault {
	const each = 400 // the kernel looks through a service's real servers to add one
	var all []ipvs.Service
	for n := 0; n*runtime.NumCPU() <= 100_000; n += each {
		all = append(all, s.at(ipvs.TCP, uint16(20_000+len(all)), "rr"))
	}
	return fault{want: "estimator-jitter", on: s.Director,
		do: func() {
			s.t.Helper()
			s.must(s.ipvs.Apply(func(yield func(ipvs.Change) bool) {
				for _, v := range all {
					ok := yield(ipvs.Change{Op: ipvs.AddService, Service: v})
					for i := range each {
						d := s.destination(s.Servers[i%2], v)
						d.Addr = netip.AddrPortFrom(d.Addr.Addr(), uint16(1000+i))
						ok = ok && yield(ipvs.Change{Op: ipvs.AddDestination, Service: v, Destination: d})
					}
					if !ok {
						return
					}
				}
			}))
		},
		undo: func() {
			s.t.Helper()
			changes := make([]ipvs.Change, len(all))
			for i, v := range all {
				changes[i] = ipvs.Change{Op: ipvs.DeleteService, Service: v}
			}
			s.must(s.ipvs.Apply(slices.Values(changes)))
		}}
}

// crowded are more than eight connections for each of 4096 buckets.
func (s *site) crowded() fault {
	const most = 8*4096 + 100
	v := s.at(ipvs.UDP, 8032, "rr")
	var sinks []int
	return fault{want: "conn-table-small", on: s.Director,
		do: func() {
			s.t.Helper()
			s.service(v)
			for _, rs := range s.Servers {
				s.must(rs.Do(func() error {
					fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
					if err != nil {
						return err
					}
					sinks = append(sinks, fd)
					return unix.Bind(fd, &unix.SockaddrInet4{Port: int(v.Addr.Port())})
				}))
			}
			s.must(s.Client.Do(func() error { return datagrams(v.Addr, most) }))
			s.counted(v, func(x ipvs.DestinationInfo) bool { return x.Inactive >= most/2-50 })
		},
		undo: func() {
			s.t.Helper()
			s.remove(v) // expire_nodest_conn is 1, so the connections go too
			for _, fd := range sinks {
				unix.Close(fd)
			}
			for deadline := time.Now().Add(60 * time.Second); len(s.connections()) > 100_000; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					s.t.Fatal("the connections did not go")
				}
			}
		}}
}

// datagrams sends empty datagrams from as many ports.
func datagrams(to netip.AddrPort, n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	b := []byte{0, 0, byte(to.Port() >> 8), byte(to.Port()), 0, 8, 0, 0}
	for port := 1024; port < 1024+n; port++ {
		b[0], b[1] = byte(port>>8), byte(port)
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
			return err
		}
	}
	return nil
}
