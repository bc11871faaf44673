package importer

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// kaVirtual is a virtual_server while it is converted. Of a group each address
// becomes a service of its own.
type kaVirtual struct {
	config.Virtual
	block    *block
	keys     []ipvs.ServiceKey
	protocol ipvs.Protocol
	family   ipvs.Family
	mask     *block
	ssh      bool // the method of the block is set
	method   kaMethod
	defaults kaDefaults
	weight   int32
	inhibit  int // real servers with inhibit_on_failure
	alpha    int // real servers with alpha
	sorry    *block
	sorryBy  *kaMethod
}

// kaMethod is a forwarding method with its tunnel.
type kaMethod struct {
	method ipvs.Method
	encap  ipvs.Encap
}

func (k *keepalived) virtual(b *block) {
	v := &kaVirtual{block: b, weight: 1, defaults: kaDefaults{delay: 60 * time.Second, connect: 5 * time.Second, retry: 1, before: time.Second}}
	v.Quorum, v.Policy, v.Service.Scheduler = 1, k.cfg.Policy, "wlc"
	v.protocol = ipvs.UDP // what the kernel makes of none
	k.each(b, func(s *block) {
		if s.name() != "real_server" {
			k.virtualLine(v, s)
		}
	})
	if v.keys = k.virtualKeys(v); len(v.keys) == 0 {
		return
	}
	k.each(b, func(s *block) {
		if s.name() == "real_server" {
			k.realServer(v, s)
		}
	})
	if len(v.Reals) == 0 {
		k.lose(b.place, "%s: no real servers: the service is left out, as keepalived does", k.show(b))
		return
	}
	k.agree(v)
	for _, key := range v.keys {
		k.add(k.serviceOf(v, key), b.place)
	}
}

// agree settles what is of a real server there and of a service here.
func (k *keepalived) agree(v *kaVirtual) {
	n := len(v.Reals)
	if v.inhibit > 0 {
		v.Policy.Quiescent = true
		if v.inhibit < n {
			k.lose(v.block.place, "inhibit_on_failure of some real servers only: all of the service get weight 0 when they fail")
		}
	}
	// Without alpha servers are in the table before their first check.
	switch {
	case v.alpha == n:
		v.Policy.Unchecked = config.UncheckedDown
	case v.alpha > 0:
		k.lose(v.block.place, "alpha of some real servers only: all of the service are up before their first check")
	}
}

// reachable is the quorum, or all there is where that is less: keepalived lowers
// it, too.
func reachable(quorum int, list []config.Real) int {
	sum := 0
	for _, s := range list {
		sum += int(s.Weight)
	}
	return max(min(quorum, sum), 1)
}

// serviceOf is the service of one address of the block.
func (k *keepalived) serviceOf(v *kaVirtual, key ipvs.ServiceKey) config.Virtual {
	out := v.Virtual
	out.Service.ServiceKey = key
	if v.mask != nil {
		if out.Service.Flags&ipvs.Persistent == 0 { // a granularity alone makes it so
			out.Service.Flags |= ipvs.Persistent
			out.Service.Timeout = 360 * time.Second
		}
		m, err := netmask(v.mask.arg(0), key.AF())
		if err != nil {
			k.lost(v.mask, err.Error())
		}
		out.Service.Netmask = m
	}
	if key.FWMark == 0 && key.Addr.Port() == 0 && out.Service.Flags&ipvs.Persistent == 0 {
		out.Service.Flags |= ipvs.Persistent // as keepalived does
		out.Service.Timeout = 360 * time.Second
	}
	if out.Service.Flags&ipvs.OnePacket != 0 && key.FWMark == 0 && key.Protocol != ipvs.UDP {
		k.lose(v.block.place, "ops: goes with UDP only")
		out.Service.Flags &^= ipvs.OnePacket
	}
	out.Reals = nil
	for _, s := range v.Reals {
		k.place(&out, &s)
		out.Reals = append(out.Reals, s)
	}
	out.Quorum = reachable(out.Quorum, out.Reals)
	out.Hysteresis = min(out.Hysteresis, out.Quorum-1) // as there
	out.Forward = v.method.method
	if !v.ssh && len(out.Reals) > 0 {
		out.Forward = commonMethod(out.Reals)
	}
	if local := out.FullNAT.Local; out.Forward == ipvs.FullNAT {
		out.FullNAT = config.NewFullNAT()
		out.FullNAT.Local = local
	}
	sameLength(&out)
	k.sorryServer(v, &out)
	return out
}

// noPort marks a server that has none of its own.
const noPort = 0

// place fits a server to the service's port.
func (k *keepalived) place(v *config.Virtual, s *config.Real) {
	if s.Port == noPort {
		s.Port = v.Port()
	}
	forcePort(s, v.Port())
	s.Checks = append([]config.Check(nil), s.Checks...)
	for i := range s.Checks {
		c := &s.Checks[i]
		if c.Port == s.Port { // as it would be anyway
			c.Port = 0
		}
		if c.Type == "connect" && c.Port == 0 && s.Port == 0 {
			k.lose(place{s.Pos.File, s.Pos.Line}, "the check of %s has no port to go to: it pings", s.Target())
			*c = config.NewCheck("ping", c.Timing)
		}
	}
}

func (k *keepalived) sorryServer(v *kaVirtual, out *config.Virtual) {
	if v.sorry == nil {
		return
	}
	a, port, err := k.target(v.sorry.arg(0), v.sorry.arg(1), out.Service.Protocol)
	if err != nil {
		k.lost(v.sorry, err.Error())
		return
	}
	s := config.Real{Addr: a, Port: port, Weight: 1, Method: v.method.method, Encap: v.method.encap, Pos: config.Position{File: v.sorry.file, Line: v.sorry.line}}
	if v.sorryBy != nil {
		s.Method, s.Encap = v.sorryBy.method, v.sorryBy.encap
	}
	k.place(out, &s)
	s.Checks = nil
	out.Fallback = []config.Real{s}
}

// target reads ADDRESS [PORT] of a server.
func (k *keepalived) target(addr, port string, p ipvs.Protocol) (a netip.Addr, n uint16, err error) {
	addr, undef := undefined(addr)
	if a, err = netip.ParseAddr(addr); err != nil || undef {
		return a, 0, errors.New("bad address " + clip(addr))
	}
	if port != "" {
		n, err = k.port(port, p)
	}
	return a, n, err
}

// virtualKeys are the services of the block: IP PORT, fwmark N, group NAME.
func (k *keepalived) virtualKeys(v *kaVirtual) (out []ipvs.ServiceKey) {
	b := v.block
	if b.arg(0) != "group" {
		return k.addressKeys(v, b, b.words[1:])
	}
	g := k.groups[b.arg(1)]
	if g == nil {
		k.lost(b, "there is no such virtual_server_group: the service is left out")
		return nil
	}
	k.each(g, func(s *block) { out = append(out, k.addressKeys(v, s, s.words)...) })
	return out
}

func (k *keepalived) addressKeys(v *kaVirtual, b *block, words []string) (out []ipvs.ServiceKey) {
	at := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	if at(0) == "fwmark" {
		n, err := strconv.ParseUint(at(1), 10, 32)
		if err != nil || n == 0 {
			k.lost(b, "bad firewall mark: the service is left out")
			return nil
		}
		f := v.family
		if at(2) == "inet6" {
			f = ipvs.IPv6
		}
		if f == 0 {
			f = k.firstFamily(v)
		}
		return []ipvs.ServiceKey{ipvs.MarkService(uint32(n), f)}
	}
	list, err := rangeWord(at(0))
	var port uint16
	if p := at(1); err == nil && p != "" {
		port, err = k.port(p, v.protocol)
	}
	if err != nil {
		k.lost(b, err.Error()+": the service is left out")
		return nil
	}
	for _, a := range list {
		out = append(out, ipvs.AddrService(v.protocol, netip.AddrPortFrom(a, port)))
	}
	return out
}

// firstFamily is that of the first real server: a firewall mark has none.
func (k *keepalived) firstFamily(v *kaVirtual) ipvs.Family {
	for _, s := range v.block.sub {
		if s.name() == "real_server" && strings.Contains(s.arg(0), ":") {
			return ipvs.IPv6
		}
	}
	return ipvs.IPv4
}

// rangeWord reads ADDRESS, ADDRESS-N where N takes the place of the last part
// (IPv6: in hexadecimal), ADDRESS-ADDRESS, or ADDRESS/BITS, the first of a network
// of which all count.
func rangeWord(s string) ([]netip.Addr, error) {
	s, undef := undefined(s)
	if p, err := netip.ParsePrefix(s); err == nil {
		return network(p)
	}
	first, last, isRange := strings.Cut(s, "-")
	a, err := netip.ParseAddr(first)
	if err != nil || undef {
		return nil, errors.New("bad address " + clip(s))
	}
	if !isRange {
		return []netip.Addr{a}, nil
	}
	end, err := netip.ParseAddr(last)
	if err != nil {
		cut := strings.LastIndexAny(first, ".:")
		if end, err = netip.ParseAddr(first[:cut+1] + last); err != nil {
			return nil, errors.New("bad range " + clip(s))
		}
	}
	return addresses(a, end)
}

// network are the addresses of a network, as keepalived wants it given: by its
// first one.
func network(p netip.Prefix) (out []netip.Addr, err error) {
	if p.Masked() != p {
		return nil, fmt.Errorf("%s is not the first address of a network", p)
	}
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		if out = append(out, a); len(out) > maxAddresses {
			return nil, fmt.Errorf("%s has more than %d addresses", p, maxAddresses)
		}
	}
	return out, nil
}
