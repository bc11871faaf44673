package ipvs

import (
	"errors"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
)

// The decoders read what follows the generic netlink header of a reply. They
// skip attributes they do not know and keep numbers they have no name for.
// Nothing they return shares the received bytes.

var (
	errNoEntry = errors.New("the entry is missing")
	errAddr    = errors.New("address of a wrong length or family")
)

// interned keeps one copy of every name, so that a listing does not allocate
// "wrr" per service.
type interned map[string]string

func (in interned) get(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := in[string(b)]; ok { // does not allocate
		return s
	}
	if len(in) >= 1024 {
		clear(in) // names come from a kernel: few, but do not rely on it
	}
	s := string(b)
	in[s] = s
	return s
}

// rawAddr is an address until its family is known.
type rawAddr struct {
	b    [16]byte
	n    int
	port uint16
}

func (r *rawAddr) set(it *wire.Attrs) {
	b := it.Bytes()
	if len(b) != 4 && len(b) != 16 {
		it.Fail(errAddr)
		return
	}
	r.n = copy(r.b[:], b)
}

// addrPort reads an IPv4 address from the first 4 bytes: the kernel sends its
// union of 16 for both families.
func (r *rawAddr) addrPort(f Family) (netip.AddrPort, error) {
	switch {
	case f == IPv4 && r.n >= 4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(r.b[:4])), r.port), nil
	case f == IPv6 && r.n == 16:
		return netip.AddrPortFrom(netip.AddrFrom16(r.b), r.port), nil
	}
	return netip.AddrPort{}, errAddr
}

// nested finds the attribute that holds a reply's entry.
func nested(b []byte, typ uint16) ([]byte, error) {
	it := wire.NewAttrs(b)
	for it.Next() {
		if it.Type() == typ {
			return it.Bytes(), nil
		}
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	return nil, errNoEntry
}

func decodeService(b []byte, s *ServiceInfo, names interned) error {
	entry, err := nested(b, attrService)
	if err != nil {
		return err
	}
	*s = ServiceInfo{}
	var (
		af      Family
		addr    rawAddr
		netmask uint32
		wide    bool
	)
	it := wire.NewAttrs(entry)
	for it.Next() {
		switch it.Type() {
		case svcAF:
			af = Family(it.U16())
		case svcProtocol:
			s.Protocol = Protocol(it.U16())
		case svcAddr:
			addr.set(&it)
		case svcPort:
			addr.port = it.Port()
		case svcFWMark:
			s.FWMark = it.U32()
		case svcSchedName:
			s.Scheduler = names.get(it.CString())
		case svcFlags:
			s.Flags = Flags(it.U32() &^ flagHashed)
		case svcTimeout:
			s.Timeout = time.Duration(it.U32()) * time.Second
		case svcNetmask:
			netmask = it.U32()
		case svcPEName:
			s.PE = names.get(it.CString())
		case svcStats, svcStats64:
			wide = decodeStats(&it, &s.Stats, svcStats64, wide)
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	s.Netmask = netmaskFromWire(af, netmask)
	return s.ServiceKey.decoded(af, &addr)
}

// decoded makes the key canonical: the form that [AddrService] and
// [MarkService] give.
func (k *ServiceKey) decoded(af Family, addr *rawAddr) (err error) {
	if k.FWMark != 0 {
		*k = MarkService(k.FWMark, af)
		return nil
	}
	k.Addr, err = addr.addrPort(af)
	return err
}

// decodeDestination reads a destination of a service of the given family,
// which kernels before 3.18 leave out because it is the destination's too.
func decodeDestination(b []byte, service Family, d *DestinationInfo) error {
	entry, err := nested(b, attrDest)
	if err != nil {
		return err
	}
	*d = DestinationInfo{}
	var (
		af   = service
		addr rawAddr
		wide bool
	)
	it := wire.NewAttrs(entry)
	for it.Next() {
		switch it.Type() {
		case destAddr:
			addr.set(&it)
		case destPort:
			addr.port = it.Port()
		case destFwdMethod:
			d.Method = Method(it.U32() & methodMask)
		case destWeight:
			d.Weight = int32(it.U32())
		case destUThresh:
			d.Upper = it.U32()
		case destLThresh:
			d.Lower = it.U32()
		case destActiveConns:
			d.Active = it.U32()
		case destInactConns:
			d.Inactive = it.U32()
		case destPersistConns:
			d.Persistent = it.U32()
		case destAddrFamily:
			if f := Family(it.U16()); f != 0 {
				af = f
			}
		case destTunType:
			d.Encap.Type = TunnelType(it.U8())
		case destTunPort:
			d.Encap.Port = it.Port()
		case destTunFlags:
			d.Encap.Flags = TunnelFlags(it.U16())
		case destStats, destStats64:
			wide = decodeStats(&it, &d.Stats, destStats64, wide)
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	d.Addr, err = addr.addrPort(af)
	return err
}
