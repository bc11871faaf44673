package sourcenat

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connection is what connection tracking knows of a connection that has got a
// local address.
type Connection struct {
	Service                        ipvs.ServiceKey
	Client, Virtual, Server, Local netip.AddrPort
	Closed                         bool // it is over, and remembered for a while
}

// Connections calls each with the connections of services that have a local
// address. It reads all that is tracked, piece by piece, and may be called at any
// time. While others come and go some may be missing.
func (*Keeper) Connections(services map[ipvs.ServiceKey]bool, each func(*Connection)) error {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
		err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(msg []byte) bool {
			if c, ok := decodeConnection(msg); ok && c.of(services) {
				each(&c)
			}
			return true
		})
		if err != nil && !absent(err) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

// absent: there is no connection tracking, or what was asked for is gone.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
}

// of finds the connection's service.
func (c *Connection) of(services map[ipvs.ServiceKey]bool) bool {
	if services[c.Service] {
		return true
	}
	c.Service.Addr = netip.AddrPortFrom(c.Virtual.Addr(), 0) // every port
	return services[c.Service]
}

const statusSourceNAT = 1 << 4 // IPS_SRC_NAT

// decodeConnection reads an entry of connection tracking that has been given
// another source address.
func decodeConnection(msg []byte) (c Connection, ok bool) {
	if len(msg) < nl.SizeofNfgenmsg {
		return c, false
	}
	var there, back tuple
	status := uint32(0)
	for kind, b := range attributes(msg[nl.SizeofNfgenmsg:]) {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			there.decode(b)
		case nl.CTA_TUPLE_REPLY:
			back.decode(b)
		case nl.CTA_STATUS:
			if len(b) == 4 {
				status = binary.BigEndian.Uint32(b)
			}
		case nl.CTA_PROTOINFO:
			c.Closed = closed(b)
		}
	}
	c.Client, c.Virtual = netip.AddrPortFrom(there.src, there.sport), netip.AddrPortFrom(there.dst, there.dport)
	c.Server, c.Local = netip.AddrPortFrom(back.src, back.sport), netip.AddrPortFrom(back.dst, back.dport)
	c.Service = ipvs.AddrService(ipvs.Protocol(there.proto), c.Virtual)
	return c, status&statusSourceNAT != 0 && there.src.IsValid() && there.dst.IsValid() && back.src.IsValid() && back.dst.IsValid()
}

// tuple is one direction of a connection.
type tuple struct {
	src, dst     netip.Addr
	proto        uint8
	sport, dport uint16
}

func (t *tuple) decode(b []byte) {
	port := func(b []byte) uint16 {
		if len(b) != 2 {
			return 0
		}
		return binary.BigEndian.Uint16(b)
	}
	for outer, b := range attributes(b) {
		for inner, b := range attributes(b) {
			switch [2]uint16{outer, inner} {
			case [2]uint16{nl.CTA_TUPLE_IP, nl.CTA_IP_V4_SRC}, [2]uint16{nl.CTA_TUPLE_IP, nl.CTA_IP_V6_SRC}:
				t.src, _ = netip.AddrFromSlice(b)
			case [2]uint16{nl.CTA_TUPLE_IP, nl.CTA_IP_V4_DST}, [2]uint16{nl.CTA_TUPLE_IP, nl.CTA_IP_V6_DST}:
				t.dst, _ = netip.AddrFromSlice(b)
			case [2]uint16{nl.CTA_TUPLE_PROTO, nl.CTA_PROTO_NUM}:
				if len(b) == 1 {
					t.proto = b[0]
				}
			case [2]uint16{nl.CTA_TUPLE_PROTO, nl.CTA_PROTO_SRC_PORT}:
				t.sport = port(b)
			case [2]uint16{nl.CTA_TUPLE_PROTO, nl.CTA_PROTO_DST_PORT}:
				t.dport = port(b)
			}
		}
	}
}

// closed reports whether a connection of TCP is over (TIME_WAIT, CLOSE).
func closed(b []byte) bool {
	for outer, b := range attributes(b) {
		for inner, b := range attributes(b) {
			if outer == nl.CTA_PROTOINFO_TCP && inner == nl.CTA_PROTOINFO_TCP_STATE && len(b) == 1 {
				return b[0] == nl.TCP_CONNTRACK_TIME_WAIT || b[0] == nl.TCP_CONNTRACK_CLOSE
			}
		}
	}
	return false
}

// attributes are those of netlink, as far as they are whole.
func attributes(b []byte) func(yield func(kind uint16, b []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			n, kind := int(nl.NativeEndian().Uint16(b)), nl.NativeEndian().Uint16(b[2:])
			if n < unix.SizeofNlAttr || n > len(b) || !yield(kind&nl.NLA_TYPE_MASK, b[unix.SizeofNlAttr:n]) {
				return
			}
			b = b[min((n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
		}
	}
}
