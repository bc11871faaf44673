package ipvs

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
)

// Commands of the changes, in the order of Op.
var opCommands = [...]command{0, cmdNewService, cmdSetService, cmdDelService, cmdNewDest, cmdSetDest, cmdDelDest}

// putChange appends the attributes of a change that [Change.check] let pass.
func putChange(e *wire.Encoder, ch *Change) {
	switch ch.Op {
	case AddService, UpdateService:
		putService(e, &ch.Service)
	case DeleteService:
		putKey(e, &ch.Service.ServiceKey)
	case AddDestination, UpdateDestination:
		putKey(e, &ch.Service.ServiceKey)
		putDestination(e, &ch.Destination)
	case DeleteDestination:
		putKey(e, &ch.Service.ServiceKey)
		m := e.Nest(attrDest)
		putDestinationAddr(e, &ch.Destination)
		e.EndNest(m)
	}
}

// putKey appends what names a service.
func putKey(e *wire.Encoder, k *ServiceKey) {
	m := e.Nest(attrService)
	putKeyAttrs(e, k)
	e.EndNest(m)
}

func putKeyAttrs(e *wire.Encoder, k *ServiceKey) {
	e.U16(svcAF, uint16(k.AF()))
	if k.FWMark != 0 {
		e.U32(svcFWMark, k.FWMark)
		return
	}
	e.U16(svcProtocol, uint16(k.Protocol))
	putAddr(e, svcAddr, k.Addr.Addr())
	e.Port(svcPort, k.Addr.Port())
}

// putService appends a whole service. The kernel wants every attribute but the
// persistence engine for adding and updating; an update without an engine
// takes the old one away (ip_vs_edit_service). The mask of the flags is full,
// so that an update can clear them.
func putService(e *wire.Encoder, s *Service) {
	m := e.Nest(attrService)
	putKeyAttrs(e, &s.ServiceKey)
	e.String(svcSchedName, s.Scheduler)
	e.Pair(svcFlags, uint32(s.Flags), ^uint32(0))
	e.U32(svcTimeout, uint32(s.Timeout/time.Second))
	e.U32(svcNetmask, s.Netmask.wire(s.AF()))
	if s.PE != "" {
		e.String(svcPEName, s.PE)
	}
	e.EndNest(m)
}

// putDestination appends a whole destination. Tunnel attributes that are not
// sent become zero in the kernel.
func putDestination(e *wire.Encoder, d *Destination) {
	m := e.Nest(attrDest)
	putDestinationAddr(e, d)
	e.U32(destFwdMethod, uint32(d.Method))
	e.U32(destWeight, uint32(d.Weight))
	e.U32(destUThresh, d.Upper)
	e.U32(destLThresh, d.Lower)
	if d.Method == Tunnel || d.Encap != (Encap{}) {
		e.U8(destTunType, uint8(d.Encap.Type))
		e.Port(destTunPort, d.Encap.Port)
		e.U16(destTunFlags, uint16(d.Encap.Flags))
	}
	e.EndNest(m)
}

func putDestinationAddr(e *wire.Encoder, d *Destination) {
	putAddr(e, destAddr, d.Addr.Addr())
	e.Port(destPort, d.Addr.Port())
	e.U16(destAddrFamily, uint16(familyOf(d.Addr.Addr())))
}

func putDaemon(e *wire.Encoder, d *Daemon) {
	m := e.Nest(attrDaemon)
	e.U32(daemonState, uint32(d.State))
	e.String(daemonMcastIfn, d.Interface)
	e.U32(daemonSyncID, d.SyncID)
	if d.MaxLen != 0 {
		e.U16(daemonSyncMaxlen, d.MaxLen)
	}
	switch familyOf(d.Group) {
	case IPv4:
		putAddr(e, daemonMcastGroup, d.Group)
	case IPv6:
		putAddr(e, daemonMcastGroup6, d.Group)
	}
	if d.Port != 0 {
		e.U16(daemonMcastPort, d.Port)
	}
	if d.TTL != 0 {
		e.U8(daemonMcastTTL, d.TTL)
	}
	e.EndNest(m)
}

// putTimeouts appends those that are not zero; the kernel keeps the others.
func putTimeouts(e *wire.Encoder, t *Timeouts) {
	for _, a := range [...]struct {
		typ uint16
		d   time.Duration
	}{{attrTimeoutTCP, t.TCP}, {attrTimeoutTCPFin, t.TCPFin}, {attrTimeoutUDP, t.UDP}} {
		if a.d != 0 {
			e.U32(a.typ, uint32(a.d/time.Second))
		}
	}
}

// putAddr appends 4 or 16 bytes. The kernel copies what comes into a zeroed
// union of 16 (ip_vs_genl_parse_service), so 4 are enough for IPv4.
func putAddr(e *wire.Encoder, typ uint16, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		e.Bytes(typ, b[:])
		return
	}
	b := a.As16()
	e.Bytes(typ, b[:])
}

// familyOf is zero for the zero Addr.
func familyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.IsValid():
		return IPv6
	}
	return 0
}
