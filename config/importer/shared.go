package importer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// netmask reads a dotted mask of IPv4 or a prefix length. The configuration has
// prefixes only.
func netmask(s string, f ipvs.Family) (ipvs.Netmask, error) {
	n, err := strconv.Atoi(s)
	if a, perr := netip.ParseAddr(s); f == ipvs.IPv4 && perr == nil && a.Is4() {
		b := a.As4()
		wild := ^binary.BigEndian.Uint32(b[:])
		if n, err = bits.LeadingZeros32(wild), nil; wild&(wild+1) != 0 {
			return ipvs.Netmask{}, fmt.Errorf("%s is no prefix: every client is by itself", s)
		}
	}
	if err != nil || n == 0 {
		return ipvs.Netmask{}, errors.New("bad mask " + clip(s))
	}
	m, err := ipvs.PrefixMask(f, n)
	if err != nil {
		return ipvs.Netmask{}, errors.New("bad mask " + clip(s))
	}
	return m, nil
}

// commonMethod is the method of most servers: that of the service.
func commonMethod(list []config.Real) ipvs.Method {
	count := map[ipvs.Method]int{}
	best := ipvs.DirectRoute
	for _, s := range list {
		if count[s.Method]++; count[s.Method] > count[best] {
			best = s.Method
		}
	}
	return best
}

// forcePort does what keepalived does with the port of a server that is not
// masqueraded, and lets the checks go where they went.
func forcePort(s *config.Real, virtual uint16) {
	if s.Method != ipvs.DirectRoute && s.Method != ipvs.Tunnel || s.Port == virtual {
		return
	}
	own := s.Port
	s.Port = virtual
	if own == 0 {
		return
	}
	s.Checks = append([]config.Check(nil), s.Checks...)
	for i := range s.Checks {
		if t := s.Checks[i].Type; s.Checks[i].Port == 0 && t != "ping" && t != "on" && t != "off" && t != "external" {
			s.Checks[i].Port = own
		}
	}
}

// addresses are first to last, if they are not too many.
func addresses(first, last netip.Addr) ([]netip.Addr, error) {
	if first.Is4() != last.Is4() || last.Less(first) {
		return nil, fmt.Errorf("bad range %s to %s", first, last)
	}
	out := []netip.Addr{first}
	for a := first; a != last; {
		a = a.Next()
		if out = append(out, a); len(out) > maxAddresses {
			return nil, fmt.Errorf("the range %s to %s has more than %d addresses", first, last, maxAddresses)
		}
	}
	return out, nil
}

const maxAddresses = 4096

// shellFree tells that a command is words and nothing that a shell would read.
func shellFree(s string) bool { return !strings.ContainsAny(s, "&;|<>$`(){}*?[]~\n") }

// shellWords takes a command apart as a shell does; false when a quote is open,
// or there is no word.
func shellWords(s string) (out []string, ok bool) {
	var word strings.Builder
	in, quoted := false, byte(0)
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case quoted == 0 && (ch == ' ' || ch == '\t'):
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		case quoted == 0 && (ch == '\'' || ch == '"'):
			quoted, in = ch, true
		case quoted == ch && quoted != 0:
			quoted = 0
		case ch == '\\' && quoted != '\'' && i+1 < len(s) && (quoted == 0 || strings.IndexByte("\\\"", s[i+1]) >= 0):
			i++
			word.WriteByte(s[i])
			in = true
		default:
			word.WriteByte(ch)
			in = true
		}
	}
	if in {
		out = append(out, word.String())
	}
	return out, quoted == 0 && len(out) > 0
}
