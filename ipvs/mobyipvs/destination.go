package mobyipvs

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
	moby "github.com/moby/ipvs"
)

// FromDestination converts a destination and its counters, which are of 32
// bits. The persistence templates bound to it are not known to moby/ipvs. The
// error is ipvs.ErrFamily, ipvs.ErrInvalid or ipvs.ErrRange.
func FromDestination(d *moby.Destination) (ipvs.DestinationInfo, error) {
	addr, err := fromIP(d.Address, ipvs.Family(d.AddressFamily))
	if err == nil && (d.Weight < 0 || d.Weight > math.MaxInt32) {
		err = fmt.Errorf("%w: weight %d", ipvs.ErrRange, d.Weight)
	}
	if err != nil {
		return ipvs.DestinationInfo{}, fmt.Errorf("convert destination from moby/ipvs: %w", err)
	}
	return ipvs.DestinationInfo{
		Destination: ipvs.Destination{
			Addr:   netip.AddrPortFrom(addr, d.Port),
			Method: ipvs.Method(d.ConnectionFlags & moby.ConnFwdMask),
			Weight: int32(d.Weight),
			Upper:  d.UpperThreshold,
			Lower:  d.LowerThreshold,
		},
		Active:   uint32(d.ActiveConnections),
		Inactive: uint32(d.InactiveConnections),
		Stats:    fromStats(moby.SvcStats(d.Stats)),
	}, nil
}

// maxWeight is the largest weight that moby/ipvs reads back.
const maxWeight = math.MaxUint16

// ToDestination converts a destination of the service k. The error is
// [ErrNotRepresentable].
func ToDestination(k ipvs.ServiceKey, d *ipvs.Destination) (*moby.Destination, error) {
	ip, err := toIP(d.Addr.Addr())
	if err == nil {
		err = representable(k, d)
	}
	if err != nil {
		return nil, fmt.Errorf("convert destination %s of %s to moby/ipvs: %w", d.Addr, k, err)
	}
	return &moby.Destination{
		Address:         ip,
		Port:            d.Addr.Port(),
		Weight:          int(d.Weight),
		ConnectionFlags: uint32(d.Method),
		AddressFamily:   uint16(k.AF()),
		UpperThreshold:  d.Upper,
		LowerThreshold:  d.Lower,
	}, nil
}

func representable(k ipvs.ServiceKey, d *ipvs.Destination) error {
	switch {
	case d.Weight < 0 || d.Weight > maxWeight:
		return fmt.Errorf("%w: weight %d is not of 16 bits", ErrNotRepresentable, d.Weight)
	case d.Method > ipvs.Bypass:
		return fmt.Errorf("%w: forwarding method %s", ErrNotRepresentable, d.Method)
	case d.Encap != ipvs.Encap{}:
		return fmt.Errorf("%w: tunnel %s", ErrNotRepresentable, d.Encap.Type)
	case d.Addr.Addr().Is4() != (k.AF() == ipvs.IPv4):
		return fmt.Errorf("%w: a real server of another family than the service's", ErrNotRepresentable)
	}
	return nil
}
