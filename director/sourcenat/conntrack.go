package sourcenat

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connection is what connection tracking knows of a connection.
type Connection struct {
	Service                        ipvs.ServiceKey // as it was looked for
	Protocol                       ipvs.Protocol
	Client, Virtual, Server, Local netip.AddrPort
	Closed                         bool // it is over, and remembered for a while
}

// hasLocal tells whether the server sees another address than the client's.
func (c *Connection) hasLocal() bool { return c.Local.Addr() != c.Client.Addr() }

// of tells whether the connection is that of a service of a firewall mark: those
// are known by where they are sent.
func (c *Connection) of(s *snat.Service) bool {
	return c.Server.Addr() != c.Virtual.Addr() && slices.ContainsFunc(s.Servers, func(a netip.AddrPort) bool {
		return a.Addr() == c.Server.Addr() && (a.Port() == 0 || a.Port() == c.Server.Port())
	})
}

// Connections calls each with the connections of services that have a local
// address. It reads all that is tracked, piece by piece, and may be called at any
// time. While others come and go some may be missing. Of services of firewall
// marks that share servers and local addresses the first one has them all.
func (*Keeper) Connections(services []snat.Service, each func(*Connection)) error {
	find := newFinder(services)
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
		err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(msg []byte) bool {
			if c, ok := decodeConnection(msg); ok && find.service(&c) {
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

// finder finds the services of connections.
type finder struct {
	byKey    map[ipvs.ServiceKey]bool
	byServer map[netip.Addr][]*snat.Service // of firewall marks
}

func newFinder(services []snat.Service) finder {
	f := finder{make(map[ipvs.ServiceKey]bool), make(map[netip.Addr][]*snat.Service)}
	for i := range services {
		s := &services[i]
		f.byKey[s.Key] = true
		if s.Key.FWMark == 0 {
			continue
		}
		for _, a := range s.Servers {
			if list := f.byServer[a.Addr()]; len(list) == 0 || list[len(list)-1] != s {
				f.byServer[a.Addr()] = append(list, s)
			}
		}
	}
	return f
}

// at finds the service of where a connection goes.
func (f *finder) at(c *Connection) (k ipvs.ServiceKey, found bool) {
	for _, at := range [...]netip.AddrPort{c.Virtual, netip.AddrPortFrom(c.Virtual.Addr(), 0)} {
		if k = ipvs.AddrService(c.Protocol, at); f.byKey[k] {
			return k, true
		}
	}
	return k, false
}

// service finds that of a connection, and tells whether there is one.
func (f *finder) service(c *Connection) (found bool) {
	if c.Service, found = f.at(c); found {
		return true
	}
	for _, s := range f.byServer[c.Server.Addr()] {
		if c.of(s) && slices.Contains(s.Locals, c.Local.Addr()) {
			c.Service = s.Key
			return true
		}
	}
	return false
}

// has tells whether a connection is one of the services', whatever its local
// address.
func (f *finder) has(c *Connection) bool {
	_, found := f.at(c)
	return found || slices.ContainsFunc(f.byServer[c.Server.Addr()], c.of)
}

// Forget has connection tracking forget the connections of services; those of
// TCP and SCTP only if they have a local address, as others, which sockets here
// have, go on. Nobody knows which of those to this machine had a firewall mark:
// with such a service all of UDP that are not translated are forgotten, and
// begin again with the next datagram. It reads the whole table, once for each
// family.
func (*Keeper) Forget(services ...snat.Service) error {
	return eachFamily(services, func(f ipvs.Family, some []snat.Service) error {
		here := func(netip.Addr) bool { return false }
		if slices.ContainsFunc(some, func(s snat.Service) bool { return s.Key.FWMark != 0 }) {
			var err error
			if here, err = localAddresses(f); err != nil {
				return err
			}
		}
		find := newFinder(some)
		return forget(f, func(c *Connection) bool {
			if find.has(c) {
				return c.Protocol == ipvs.UDP || c.hasLocal()
			}
			return c.Protocol == ipvs.UDP && c.Server == c.Virtual && !c.hasLocal() && here(c.Virtual.Addr())
		})
	})
}

// eachFamily does something with the services of each family that there are some
// of.
func eachFamily(services []snat.Service, do func(ipvs.Family, []snat.Service) error) error {
	for _, f := range []ipvs.Family{ipvs.IPv4, ipvs.IPv6} {
		some := slices.DeleteFunc(slices.Clone(services), func(s snat.Service) bool { return s.Key.AF() != f })
		if len(some) == 0 {
			continue
		}
		if err := do(f, some); err != nil {
			return err
		}
	}
	return nil
}

// localAddresses are those whose packets this machine takes for its own.
func localAddresses(f ipvs.Family) (func(netip.Addr) bool, error) {
	routes, err := netlink.RouteListFiltered(number(f), &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	return func(a netip.Addr) bool {
		return slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.Contains(a.AsSlice()) })
	}, nil
}

func number(f ipvs.Family) int {
	if f == ipvs.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// matching are the entries of connection tracking that it says.
type matching func(*Connection) bool

// MatchConntrackFlow is how package netlink asks.
func (m matching) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	at := func(ip net.IP, port uint16) netip.AddrPort {
		a, _ := netip.AddrFromSlice(ip)
		return netip.AddrPortFrom(a.Unmap(), port)
	}
	return m(&Connection{Protocol: ipvs.Protocol(f.Forward.Protocol),
		Client: at(f.Forward.SrcIP, f.Forward.SrcPort), Virtual: at(f.Forward.DstIP, f.Forward.DstPort),
		Server: at(f.Reverse.SrcIP, f.Reverse.SrcPort), Local: at(f.Reverse.DstIP, f.Reverse.DstPort)})
}

func forget(f ipvs.Family, which matching) error {
	_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.InetFamily(number(f)), which)
	if absent(err) {
		return nil
	}
	return err
}

// absent: there is no connection tracking, or what was asked for is gone.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
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
	c.Protocol = ipvs.Protocol(there.proto)
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
