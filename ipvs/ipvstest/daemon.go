package ipvstest

import (
	"math"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// startDaemon is ip_vs_genl_new_daemon and start_sync_thread, which fill in
// what is left zero.
func (s *state) startDaemon(d ipvs.Daemon) unix.Errno {
	if d.Group.IsValid() && !d.Group.IsMulticast() || s.mixed > 0 {
		return unix.EINVAL
	}
	if !d.Group.IsValid() {
		d.Group = netip.AddrFrom4([4]byte{224, 0, 0, 81})
	}
	if d.Port == 0 {
		d.Port = 8848
	}
	if d.TTL == 0 {
		d.TTL = 1
	}
	mtu, ok := s.machine.Interfaces[d.Interface]
	if !ok {
		return unix.ENODEV
	}
	if d.State != ipvs.Master && d.State != ipvs.Backup {
		return unix.EINVAL
	}
	if _, running := s.daemons[d.State]; running {
		return unix.EEXIST
	}
	if d.State == ipvs.Master && d.Group.Is6() && d.Interface == "lo" {
		return unix.ENETUNREACH // lo has no IPv6 multicast route (make_send_sock)
	}
	d.MaxLen = maxLen(d, mtu)
	s.daemons[d.State] = d
	return 0
}

// maxLen is the message size that start_sync_thread settles on.
func maxLen(d ipvs.Daemon, mtu int) uint16 {
	headers, least := 20+8, 1
	if !d.Group.Is4() {
		headers = 40 + 8
	}
	if d.State == ipvs.Backup {
		mtu, least = min(max(mtu, 1500), math.MaxUint16), 1024
	} else {
		mtu = 1500
	}
	if d.MaxLen == 0 {
		return uint16(mtu - headers)
	}
	return uint16(min(max(int(d.MaxLen), least), math.MaxUint16-headers))
}

// stopDaemon is stop_sync_thread.
func (s *state) stopDaemon(d ipvs.DaemonState) unix.Errno {
	if d != ipvs.Master && d != ipvs.Backup {
		return unix.EINVAL
	}
	if _, running := s.daemons[d]; !running {
		return unix.ESRCH
	}
	delete(s.daemons, d)
	return 0
}

// setTimeouts is ip_vs_set_timeout: a zero keeps the old value.
func (s *state) setTimeouts(t ipvs.Timeouts) unix.Errno {
	most := time.Duration(math.MaxInt32/s.machine.HZ) * time.Second
	for _, d := range []time.Duration{t.TCP, t.TCPFin, t.UDP} {
		if d > most {
			return unix.EINVAL
		}
	}
	for _, v := range []struct {
		to *time.Duration
		d  time.Duration
	}{{&s.timeouts.TCP, t.TCP}, {&s.timeouts.TCPFin, t.TCPFin}, {&s.timeouts.UDP, t.UDP}} {
		if v.d != 0 {
			*v.to = v.d
		}
	}
	return 0
}
