package ipvsadm

import (
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// The widths of a row's name: ipvsadm cuts IPv4 names there and lets IPv6 ones
// push the columns to the right.
const (
	serviceWidth     = 33
	destinationWidth = 28
)

var titles = [...]string{
	ViewDefault: "Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
	ViewTunnel: "Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n",
	ViewStats: "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n" +
		"  -> RemoteAddress:Port\n",
	ViewRate: "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n" +
		"  -> RemoteAddress:Port\n",
	ViewThresholds: "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n" +
		"  -> RemoteAddress:Port\n",
	ViewPersistent: "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n" +
		"  -> RemoteAddress:Port\n",
}

// textView prints the rows of one view, to the byte as ipvsadm does.
type textView struct {
	view  View
	names *Resolver
	exact bool
}

func (v textView) title(b []byte) []byte { return append(b, titles[v.view]...) }

func (v textView) service(b []byte, s *ipvs.ServiceInfo) []byte {
	start := len(b)
	b = v.serviceName(b, s.ServiceKey)
	switch v.view {
	case ViewStats:
		b = v.stats(padTo(b, start, serviceWidth), &s.Stats)
	case ViewRate:
		b = v.rates(padTo(b, start, serviceWidth), &s.Stats)
	default:
		b = appendProperties(b, &s.Service)
	}
	return append(b, '\n')
}

func (v textView) serviceName(b []byte, k ipvs.ServiceKey) []byte {
	if k.FWMark != 0 {
		b = strconv.AppendUint(append(b, "FWM  "...), uint64(k.FWMark), 10)
		if k.Family == ipvs.IPv6 {
			b = append(b, " IPv6"...)
		}
		return b
	}
	start := len(b)
	b = append(b, protocolColumn(k.Protocol)...)
	b = v.endpoint(b, start, k.Addr, k.Protocol, serviceWidth)
	return b
}

// appendProperties appends what a service is beyond its address. Netmask and
// engine show only with persistence, whatever the kernel holds.
func appendProperties(b []byte, s *ipvs.Service) []byte {
	b = append(append(b, ' '), s.Scheduler...)
	if s.Flags&ipvs.SchedFlags != 0 {
		b = append(appendSchedFlags(append(b, " ("...), s), ')')
	}
	if s.Flags&ipvs.Persistent != 0 {
		b = strconv.AppendInt(append(b, " persistent "...), int64(s.Timeout/time.Second), 10)
		if !s.Netmask.IsDefault() {
			b = appendMask(append(b, " mask "...), s)
		}
		if s.PE != "" {
			b = append(append(b, " pe "...), s.PE...)
		}
	}
	if s.Flags&ipvs.OnePacket != 0 {
		b = append(b, " ops"...)
	}
	if s.Proxy != ipvs.NoProxy { // as dpvs shows it
		b = append(append(b, " pp"...), s.Proxy.String()...)
	}
	return b
}

func (v textView) destination(b []byte, s *ipvs.ServiceInfo, d *ipvs.DestinationInfo) []byte {
	b = append(b, "  -> "...)
	start := len(b)
	b = v.endpoint(b, start, d.Addr, s.Protocol, destinationWidth)
	b = padTo(b, start, destinationWidth)
	switch v.view {
	case ViewStats:
		return append(v.stats(b, &d.Stats), '\n')
	case ViewRate:
		return append(v.destinationRates(b, &d.Stats), '\n')
	case ViewThresholds:
		b = appendUintLeft(append(b, ' '), uint64(d.Upper), 10)
		b = appendUintLeft(append(b, ' '), uint64(d.Lower), 10)
	case ViewPersistent:
		b = appendIntLeft(append(b, ' '), int64(d.Weight), 9)
		b = appendUintLeft(append(b, ' '), uint64(d.Persistent), 11)
	case ViewTunnel:
		b = appendMethod(append(b, ' '), d.Method)
		b = appendEncap(append(b, ' '), &d.Destination)
		b = appendIntLeft(append(b, ' '), int64(d.Weight), 6)
	default:
		b = appendMethod(append(b, ' '), d.Method)
		b = appendIntLeft(append(b, ' '), int64(d.Weight), 6)
	}
	b = appendUintLeft(append(b, ' '), uint64(d.Active), 10)
	b = appendUintLeft(append(b, ' '), uint64(d.Inactive), 10)
	return append(b, '\n')
}

func (v textView) stats(b []byte, s *ipvs.Stats) []byte {
	for _, n := range [...]uint64{s.Conns, s.InPkts, s.OutPkts, s.InBytes, s.OutBytes} {
		b = appendCounter(b, n, v.exact)
	}
	return b
}

func (v textView) rates(b []byte, s *ipvs.Stats) []byte {
	for _, n := range [...]uint64{s.CPS, s.InPPS, s.OutPPS, s.InBPS, s.OutBPS} {
		b = appendCounter(b, n, v.exact)
	}
	return b
}

// destinationRates: ipvsadm never scales the first three of these.
func (v textView) destinationRates(b []byte, s *ipvs.Stats) []byte {
	for _, n := range [...]uint64{s.CPS, s.InPPS, s.OutPPS} {
		b = appendUintRight(append(b, ' '), n, 8)
	}
	return appendCounter(appendCounter(b, s.InBPS, v.exact), s.OutBPS, v.exact)
}

func protocolColumn(p ipvs.Protocol) string {
	switch p {
	case ipvs.TCP:
		return "TCP  "
	case ipvs.UDP:
		return "UDP  "
	case ipvs.SCTP:
		return "SCTP "
	}
	return "?    "
}

// appendMethod appends the seven columns of a forwarding method. One that
// ipvsadm does not know prints as its number.
func appendMethod(b []byte, m ipvs.Method) []byte {
	switch m {
	case ipvs.NAT:
		return append(b, "Masq   "...)
	case ipvs.Local:
		return append(b, "Local  "...)
	case ipvs.Tunnel:
		return append(b, "Tunnel "...)
	case ipvs.DirectRoute:
		return append(b, "Route  "...)
	case ipvs.Bypass:
		return append(b, "Bypass "...)
	case ipvs.FullNAT:
		return append(b, "FullNat"...)
	}
	return appendUintLeft(b, uint64(m), 7)
}

// appendEncap appends the thirteen columns of --tun-info: ipip, gre:-c,
// gue:6080:r+c, or n/a for a destination that is not tunnelled.
func appendEncap(b []byte, d *ipvs.Destination) []byte {
	start := len(b)
	if d.Method != ipvs.Tunnel {
		return padTo(append(b, "n/a"...), start, 13)
	}
	b = append(b, d.Encap.Type.String()...)
	if d.Encap.Type == ipvs.GUE {
		b = strconv.AppendUint(append(b, ':'), uint64(d.Encap.Port), 10)
	}
	if d.Encap.Type != ipvs.IPIP {
		b = append(b, checksumInfo(d.Encap.Flags)...)
	}
	return padTo(b, start, 13)
}

func checksumInfo(f ipvs.TunnelFlags) string {
	switch {
	case f&ipvs.RemCsum != 0:
		return ":r+c"
	case f&ipvs.Csum != 0:
		return ":+c"
	}
	return ":-c"
}
