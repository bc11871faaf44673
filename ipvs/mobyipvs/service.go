package mobyipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	moby "github.com/moby/ipvs"
)

// ErrNotRepresentable is the error for what moby/ipvs has no place for.
var ErrNotRepresentable = errors.New("not representable in moby/ipvs")

// flagHashed is IP_VS_SVC_F_HASHED.
const flagHashed = 0x2

// FromService converts a service and its counters, which are of 32 bits. The
// error is ipvs.ErrFamily, ipvs.ErrInvalid or ipvs.ErrRange for what is no
// service.
func FromService(s *moby.Service) (ipvs.ServiceInfo, error) {
	out, err := fromService(s)
	if err != nil {
		return ipvs.ServiceInfo{}, fmt.Errorf("convert service from moby/ipvs: %w", err)
	}
	return ipvs.ServiceInfo{Service: out, Stats: fromStats(s.Stats)}, nil
}

func fromService(s *moby.Service) (ipvs.Service, error) {
	key, err := fromKey(s)
	if err != nil {
		return ipvs.Service{}, err
	}
	mask, err := fromNetmask(key.AF(), s.Netmask)
	return ipvs.Service{
		ServiceKey: key,
		Scheduler:  s.SchedName,
		Flags:      ipvs.Flags(s.Flags &^ flagHashed),
		Timeout:    time.Duration(s.Timeout) * time.Second,
		Netmask:    mask,
		PE:         s.PEName,
	}, err
}

func fromKey(s *moby.Service) (ipvs.ServiceKey, error) {
	if s.FWMark != 0 {
		f := ipvs.Family(s.AddressFamily)
		if f != ipvs.IPv4 && f != ipvs.IPv6 {
			return ipvs.ServiceKey{}, fmt.Errorf("%w: %s for fwmark %d", ipvs.ErrFamily, f, s.FWMark)
		}
		return ipvs.MarkService(s.FWMark, f), nil
	}
	addr, err := fromIP(s.Address, ipvs.Family(s.AddressFamily))
	return ipvs.AddrService(ipvs.Protocol(s.Protocol), netip.AddrPortFrom(addr, s.Port)), err
}

// fromIP reads an address of a family. Zero lets the address tell, which in
// package net is IPv4 for an IPv4-mapped one.
func fromIP(ip net.IP, f ipvs.Family) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%w: an address of %d bytes", ipvs.ErrInvalid, len(ip))
	}
	if f != ipvs.IPv6 {
		a = a.Unmap()
	}
	if f == 0 || f == ipvs.IPv4 && a.Is4() || f == ipvs.IPv6 && a.Is6() {
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("%w: %s is not %s", ipvs.ErrFamily, a, f)
}

// fromNetmask reads the kernel's u32, which moby/ipvs keeps as it is.
func fromNetmask(f ipvs.Family, v uint32) (ipvs.Netmask, error) {
	switch {
	case f == ipvs.IPv4:
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], v)
		return ipvs.Netmask4(b), nil
	case v == 0:
		return ipvs.Netmask{}, nil
	case v > 128:
		return ipvs.Netmask{}, fmt.Errorf("%w: netmask %d of an IPv6 service", ipvs.ErrRange, v)
	}
	return ipvs.PrefixMask(f, int(v))
}

// ToService converts a service. The error is [ErrNotRepresentable], or
// ipvs.ErrRange for a timeout that is not in whole seconds.
func ToService(s *ipvs.Service) (*moby.Service, error) {
	out, err := toService(s)
	if err != nil {
		return nil, fmt.Errorf("convert service %s to moby/ipvs: %w", s.ServiceKey, err)
	}
	return out, nil
}

func toService(s *ipvs.Service) (*moby.Service, error) {
	if s.PE != "" {
		return nil, fmt.Errorf("%w: persistence engine %s, which it would lose", ErrNotRepresentable, s.PE)
	}
	timeout, err := toSeconds(s.Timeout)
	if err != nil {
		return nil, err
	}
	out := &moby.Service{
		Protocol:      uint16(s.Protocol),
		Port:          s.Addr.Port(),
		FWMark:        s.FWMark,
		SchedName:     s.Scheduler,
		Flags:         uint32(s.Flags),
		Timeout:       timeout,
		Netmask:       toNetmask(s.AF(), s.Netmask),
		AddressFamily: uint16(s.AF()),
	}
	if s.FWMark == 0 {
		out.Address, err = toIP(s.Addr.Addr())
	}
	return out, err
}

// toIP gives an address as moby/ipvs reads it: 4 bytes or 16.
func toIP(a netip.Addr) (net.IP, error) {
	switch {
	case !a.IsValid():
		return nil, fmt.Errorf("%w: no address", ipvs.ErrInvalid)
	case a.Zone() != "":
		return nil, fmt.Errorf("%w: zone of %s", ErrNotRepresentable, a)
	case a.Is4In6():
		return nil, fmt.Errorf("%w: %s, which it would write as IPv4", ErrNotRepresentable, a)
	}
	return a.AsSlice(), nil
}

func toNetmask(f ipvs.Family, m ipvs.Netmask) uint32 {
	if f == ipvs.IPv6 {
		n, _ := m.Prefix(f)
		return uint32(n)
	}
	b := m.IPv4()
	return binary.NativeEndian.Uint32(b[:])
}

func toSeconds(d time.Duration) (uint32, error) {
	n := d / time.Second
	if d%time.Second != 0 || n < 0 || n > math.MaxUint32 {
		return 0, fmt.Errorf("%w: %s in whole seconds", ipvs.ErrRange, d)
	}
	return uint32(n), nil
}

func fromStats(s moby.SvcStats) ipvs.Stats {
	return ipvs.Stats{
		Conns:    uint64(s.Connections),
		InPkts:   uint64(s.PacketsIn),
		OutPkts:  uint64(s.PacketsOut),
		InBytes:  s.BytesIn,
		OutBytes: s.BytesOut,
		CPS:      uint64(s.CPS),
		InPPS:    uint64(s.PPSIn),
		OutPPS:   uint64(s.PPSOut),
		InBPS:    uint64(s.BPSIn),
		OutBPS:   uint64(s.BPSOut),
	}
}
