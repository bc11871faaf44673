package doctor

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// ParseService reads a service as --service takes it: VIP:PORT, which is TCP,
// or with tcp:, udp: or sctp: in front; fwmark:MARK, or fwmark6:MARK for IPv6.
func ParseService(text string) (ipvs.ServiceKey, error) {
	word, rest, found := strings.Cut(text, ":")
	if !found {
		return ipvs.ServiceKey{}, badService(text)
	}
	proto := ipvs.TCP
	switch word {
	case "fwmark", "fwmark6":
		mark, err := strconv.ParseUint(rest, 0, 32)
		if err != nil || mark == 0 {
			return ipvs.ServiceKey{}, badService(text)
		}
		if word == "fwmark6" {
			return ipvs.MarkService(uint32(mark), ipvs.IPv6), nil
		}
		return ipvs.MarkService(uint32(mark), ipvs.IPv4), nil
	case "udp":
		proto, text = ipvs.UDP, rest
	case "sctp":
		proto, text = ipvs.SCTP, rest
	case "tcp":
		text = rest
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Addr().Zone() != "" {
		return ipvs.ServiceKey{}, badService(text)
	}
	return ipvs.AddrService(proto, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())), nil
}

func badService(text string) error {
	return fmt.Errorf("%q is no service: VIP:PORT, tcp:VIP:PORT, udp:VIP:PORT, sctp:VIP:PORT, fwmark:MARK or fwmark6:MARK; an IPv6 address in brackets", text)
}

// ServiceArg is the word that ParseService reads.
func ServiceArg(k ipvs.ServiceKey) string {
	switch {
	case k.FWMark != 0 && k.AF() == ipvs.IPv6:
		return fmt.Sprintf("fwmark6:%d", k.FWMark)
	case k.FWMark != 0:
		return fmt.Sprintf("fwmark:%d", k.FWMark)
	case k.Protocol == ipvs.TCP:
		return k.Addr.String()
	}
	return k.Protocol.String() + ":" + k.Addr.String()
}
