package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// endpoint is what the file says of where something is: a host name, an
// address or a range of addresses, and a port.
type endpoint struct {
	host        string     // "": first tells
	first, last netip.Addr // equal unless it is a range
	port        uint16
	hasPort     bool
}

// maxRange is how many addresses a range may have.
const maxRange = 4096

// parseEndpoint reads HOST[:PORT], ADDRESS[:PORT], FIRST-LAST[:PORT]. IPv6
// addresses with a port stand in brackets, a range as [a]-[b]:port or [a-b]:port.
func parseEndpoint(s string) (e endpoint, err error) {
	host, port, hasPort := splitPort(s)
	if hasPort {
		if e.port, err = parsePort(port); err != nil {
			return e, err
		}
		e.hasPort = true
	}
	if host == "" {
		return e, errors.New("no address before the port")
	}
	first, last, isRange := strings.Cut(host, "-")
	a, err := parseBare(first)
	switch {
	case err == nil && !isRange:
		e.first, e.last = a, a
		return e, nil
	case err == nil:
		e.first = a
		if e.last, err = parseBare(last); err != nil {
			return e, fmt.Errorf("bad end of the range: %w", err)
		}
		return e, checkRange(e.first, e.last)
	}
	if err := checkHost(host); err != nil {
		return e, err
	}
	e.host = strings.ToLower(host)
	return e, nil
}

// splitPort cuts the port off; an IPv6 address without brackets has none.
func splitPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	switch {
	case i < 0:
		return s, "", false
	case strings.HasSuffix(s[:i], "]"):
		return s[:i], s[i+1:], true
	case strings.Count(s, ":") > 1 && !strings.Contains(s[:i], "]"):
		return s, "", false
	case strings.Contains(s[i:], "]"):
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func parsePort(s string) (uint16, error) {
	p, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s != strconv.FormatUint(p, 10) {
		hint := ""
		if s != "" && strings.Trim(s, "0123456789") != "" {
			hint = "a port is a number here, not a name of a service"
		}
		return 0, hinted{fmt.Errorf("bad port %s (0 to 65535)", quote(clip(s))), hint}
	}
	return uint16(p), nil
}

// parseBare reads an address, in brackets or not.
func parseBare(s string) (netip.Addr, error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, badAddress(s)
	case a.Zone() != "":
		return a, fmt.Errorf("%s: the kernel balances no addresses with a zone", a)
	case a.Is4In6():
		return a, hinted{fmt.Errorf("%s is an IPv4 address in IPv6 form", a), "write " + a.Unmap().String()}
	}
	return a, nil
}

func badAddress(s string) error {
	hint := ""
	if p, err := netip.ParsePrefix(strings.Trim(s, "[]")); err == nil {
		hint = fmt.Sprintf("write %s: it is one address, without /%d", p.Addr(), p.Bits())
	}
	return hinted{fmt.Errorf("bad address %s", quote(clip(s))), hint}
}

func checkRange(first, last netip.Addr) error {
	switch {
	case first.Is4() != last.Is4():
		return errors.New("a range from IPv4 to IPv6")
	case last.Less(first):
		return hinted{fmt.Errorf("the range %s-%s goes backwards", first, last), "write " + last.String() + "-" + first.String()}
	}
	if n := span(first, last); n == 0 || n > maxRange {
		return fmt.Errorf("the range %s-%s has more than %d addresses", first, last, maxRange)
	}
	return nil
}

// span is how many addresses the range has, or 0 if that is far too many.
func span(first, last netip.Addr) uint64 {
	a, b := first.As16(), last.As16()
	if string(a[:8]) != string(b[:8]) {
		return 0
	}
	var d uint64
	for i := 8; i < 16; i++ {
		d = d<<8 + uint64(b[i]) - uint64(a[i])
	}
	return d + 1
}

// all are the addresses of the range.
func (e endpoint) all() []netip.Addr {
	out := []netip.Addr{e.first}
	for a := e.first; a != e.last; {
		a = a.Next()
		out = append(out, a)
	}
	return out
}

// checkHost holds names to the syntax of RFC 1123, section 2.1, and underscores,
// which exist. A last label of digits would make it an address.
func checkHost(s string) error {
	name := strings.TrimSuffix(s, ".")
	labels := strings.Split(name, ".")
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" || strings.ContainsAny(s, ":[]/") {
		return badAddress(s)
	}
	bad := fmt.Errorf("bad host name %s", quote(clip(s)))
	if len(name) > 253 {
		return bad
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return bad
		}
	}
	return nil
}

// checkUnicast refuses addresses that no server can have.
func checkUnicast(a netip.Addr) error {
	switch {
	case a.IsUnspecified():
		return fmt.Errorf("%s is no address of a machine", a)
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is not the address of one machine", a)
	case a.Is6() && a.IsLinkLocalUnicast():
		return fmt.Errorf("%s is link-local: the kernel cannot know the interface", a)
	}
	return nil
}

// parseRanges reads addresses and ranges of them, as [virtual.fullnat] local.
func parseRanges(list []string) (out []netip.Addr, err error) {
	for _, s := range list {
		e, err := parseEndpoint(s)
		switch {
		case err != nil:
			return nil, err
		case e.host != "":
			return nil, fmt.Errorf("%s is no address", quote(clip(s)))
		case e.hasPort:
			return nil, fmt.Errorf("%s has a port", quote(clip(s)))
		}
		for _, a := range e.all() {
			if err := checkUnicast(a); err != nil {
				return nil, err
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// parsePeers reads an address, or a network as ADDRESS/BITS.
func parsePeers(s string) (p netip.Prefix, err error) {
	addr, bits, isNet := strings.Cut(s, "/")
	a, err := parseBare(addr)
	if err != nil || !isNet {
		return netip.PrefixFrom(a, a.BitLen()), err
	}
	if p, err = netip.ParsePrefix(a.String() + "/" + bits); err != nil {
		return p, fmt.Errorf("bad network %s: want ADDRESS/BITS, bits up to %d", quote(clip(s)), a.BitLen())
	}
	if p != p.Masked() {
		return p, hinted{fmt.Errorf("%s has bits behind the network's", p), "write " + p.Masked().String()}
	}
	return p, nil
}

func formatPeers(list []netip.Prefix) (out []string) {
	for _, p := range list {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return out
}

// formatRanges writes runs of three and more addresses as a range.
func formatRanges(list []netip.Addr) (out []string) {
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && j+1-i < maxRange && list[j].Next() == list[j+1] {
			j++
		}
		if j-i < 2 {
			out, i = append(out, list[i].String()), i+1
			continue
		}
		out, i = append(out, list[i].String()+"-"+list[j].String()), j+1
	}
	return out
}
