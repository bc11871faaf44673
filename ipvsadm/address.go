package ipvsadm

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// An endpoint is ADDRESS[:PORT].
type endpoint struct {
	addr    netip.Addr
	port    uint16
	hasPort bool
}

var (
	errForm   = errors.New("10.0.0.1:80, name:http or [2001:db8::1]:80")
	errNoHost = errors.New("no such host")
	errPort   = errors.New("no such port")
	errOrder  = errors.New("a port's name is looked up for the service's protocol: give the service first")
)

// endpoint reads "10.0.0.1:80", "name:http", "[2001:db8::1]:80" or an address
// without a port; IPv6 with a port needs the brackets. what is the kind of
// server, for messages. A port's name is looked up for proto, if that is known.
func (p *parser) endpoint(s, what string, proto ipvs.Protocol) (endpoint, error) {
	e, err := p.readEndpoint(s, proto)
	if err != nil {
		err = usage("", "illegal "+what+" server address[:port] specified ("+err.Error()+")")
	}
	return e, err
}

func (p *parser) readEndpoint(s string, proto ipvs.Protocol) (endpoint, error) {
	host, port, six, hasPort, ok := splitPort(s)
	if !ok {
		return endpoint{}, errForm
	}
	a, err := p.host(host, six)
	if err != nil || !hasPort {
		return endpoint{addr: a}, err
	}
	n, err := p.port(port, proto)
	return endpoint{a, n, true}, err
}

// splitPort cuts at the colon, or behind the brackets. six: the host is in an
// IPv6 spelling, in brackets or with more than one colon, all of which are its own.
func splitPort(s string) (host, port string, six, hasPort, ok bool) {
	if strings.HasPrefix(s, "[") {
		host, port, ok = strings.Cut(s[1:], "]:")
		return host, port, true, true, ok
	}
	host, port, hasPort = strings.Cut(s, ":")
	if strings.Contains(port, ":") {
		return s, "", true, false, true
	}
	return host, port, false, hasPort, true
}

// numeric reads an IPv4 or IPv6 address. Spellings that programs read
// differently (10.1, 010.0.0.1, 0x0a000001) and zones are no addresses.
func numeric(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
}

// host reads an address or asks for a name's: IPv4, but in an IPv6 spelling,
// IPv6 if it has one.
func (p *parser) host(s string, six bool) (netip.Addr, error) {
	if a, ok := numeric(s); ok && (six || a.Is4()) {
		return a, nil
	}
	if !hostName(s) {
		return netip.Addr{}, errForm
	}
	if p.names == nil {
		return netip.Addr{}, errNoHost
	}
	if six {
		if a, err := p.names.Host(s, ipvs.IPv6); err == nil {
			return a, nil
		}
	}
	return p.names.Host(s, ipvs.IPv4)
}

// hostName reports whether s may be a name at all. What ends in a number is a
// botched address, which resolvers of the C library would take for one.
func hostName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', digit(c), c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	s = strings.TrimSuffix(s, ".")
	last := s[strings.LastIndexByte(s, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || len(s) > 253 {
		return false
	}
	return last != "" && !digits(last)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func digits(s string) bool {
	for i := range len(s) {
		if !digit(s[i]) {
			return false
		}
	}
	return s != ""
}

func (p *parser) port(s string, proto ipvs.Protocol) (uint16, error) {
	if digits(s) {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return 0, errPort
		}
		return uint16(n), nil
	}
	switch {
	case s == "" || p.names == nil:
		return 0, errPort
	case proto == 0:
		return 0, errOrder
	}
	return p.names.Port(s, proto)
}

func setTCP(p *parser, v string) error  { return p.service(v, ipvs.TCP) }
func setUDP(p *parser, v string) error  { return p.service(v, ipvs.UDP) }
func setSCTP(p *parser, v string) error { return p.service(v, ipvs.SCTP) }

func (p *parser) service(v string, proto ipvs.Protocol) error {
	e, err := p.endpoint(v, "virtual", proto)
	p.cmd.Change.Service.ServiceKey = ipvs.AddrService(proto, netip.AddrPortFrom(e.addr, e.port))
	return err
}

func setMark(p *parser, v string) error {
	n, err := number(v, "fwmark value", 1, 1<<32-1)
	p.cmd.Change.Service.ServiceKey = ipvs.MarkService(n, ipvs.IPv4)
	return err
}

func setIPv6(p *parser, _ string) error {
	k := &p.cmd.Change.Service.ServiceKey
	if k.FWMark == 0 {
		return usage("", "used before -f")
	}
	k.Family = ipvs.IPv6
	return nil
}

func setRealServer(p *parser, v string) (err error) {
	k := &p.cmd.Change.Service.ServiceKey
	proto := k.Protocol
	if k.FWMark != 0 {
		proto = ipvs.TCP
	}
	p.server, err = p.endpoint(v, "real", proto)
	return err
}

// setLocal takes full NAT's local address: no port, no name.
func setLocal(p *parser, v string) error {
	a, ok := numeric(v)
	if !ok || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
		return usage("", "illegal local address specified (a unicast address, in numbers)")
	}
	p.cmd.Change.Local = a
	return nil
}

// setNetmask only looks whether the value can be a mask at all, unless the family
// is known by now; which mask it is depends on that.
func setNetmask(p *parser, v string) error {
	p.mask = v
	families := []ipvs.Family{ipvs.IPv4, ipvs.IPv6}
	if s := &p.cmd.Change.Service; s.Addr.IsValid() {
		families = []ipvs.Family{s.AF()}
	}
	var err error
	for _, f := range families {
		if _, err = p.netmask(f); err == nil {
			return nil
		}
	}
	return illegalMask(err)
}

func illegalMask(err error) error {
	return usage("", "illegal virtual server persistent mask specified ("+err.Error()+")")
}

var (
	errMask  = errors.New("a mask such as 255.255.255.0, or a prefix length: up to 32 for IPv4, 1 to 128 for IPv6")
	errMask6 = errors.New("the service is IPv6: a prefix length from 1 to 128")
)

// netmask reads -M: a prefix length for either family, a dotted mask or the
// name of one for IPv4.
func (p *parser) netmask(f ipvs.Family) (ipvs.Netmask, error) {
	if digits(p.mask) {
		n, err := strconv.ParseUint(p.mask, 10, 8)
		if err != nil {
			return ipvs.Netmask{}, errMask
		}
		m, err := ipvs.PrefixMask(f, int(n))
		if err != nil {
			return ipvs.Netmask{}, errMask
		}
		return m, nil
	}
	if f == ipvs.IPv6 {
		return ipvs.Netmask{}, errMask6
	}
	a, err := p.host(p.mask, false)
	if err != nil || !a.Is4() {
		return ipvs.Netmask{}, errMask
	}
	return ipvs.Netmask4(a.As4()), nil
}
