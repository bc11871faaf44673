package ipvsadm

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// AppendServiceRule appends the rule that makes s, "-A -t 10.0.0.1:80 -s wlc",
// without a newline. Numbers only; what [Save] prints and Parse reads.
func AppendServiceRule(b []byte, s *ipvs.Service) []byte {
	return ruleWriter{}.service(b, "-A ", s)
}

// AppendDestinationRule appends the rule that adds d to the service k,
// "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1", without a newline. Thresholds
// follow the weight when they are set.
func AppendDestinationRule(b []byte, k ipvs.ServiceKey, d *ipvs.Destination) []byte {
	return ruleWriter{}.destination(b, "-a ", k, d)
}

// AppendChange appends the rule (-A, -E, -D, -a, -e, -d, -P, -Q) that makes the change,
// without a newline.
func AppendChange(b []byte, c ipvs.Change) []byte {
	var r ruleWriter
	switch c.Op {
	case ipvs.AddService:
		return r.service(b, "-A ", &c.Service)
	case ipvs.UpdateService:
		return r.service(b, "-E ", &c.Service)
	case ipvs.DeleteService:
		return fullNAT(r.key(append(b, "-D "...), c.Service.ServiceKey), &c.Service)
	case ipvs.AddDestination:
		return r.destination(b, "-a ", c.Service.ServiceKey, &c.Destination)
	case ipvs.UpdateDestination:
		return r.destination(b, "-e ", c.Service.ServiceKey, &c.Destination)
	case ipvs.DeleteDestination:
		b = append(r.key(append(b, "-d "...), c.Service.ServiceKey), " -r "...)
		return fullNAT(r.endpoint(b, c.Destination.Addr, c.Service.Protocol), &c.Service)
	case ipvs.AddLocal:
		return r.local(b, "-P ", c.Service.ServiceKey, c.Local)
	case ipvs.DeleteLocal:
		return r.local(b, "-Q ", c.Service.ServiceKey, c.Local)
	}
	return append(b, c.Op.String()...)
}

// ruleWriter prints rules; with names it says hosts and ports by name.
type ruleWriter struct {
	names *Resolver
	// inEffect leaves out the mask of a service that is not persistent, as
	// ipvsadm's -S does. The rule of a change must say it: the mask may be all
	// that changes.
	inEffect bool
}

func (r ruleWriter) service(b []byte, verb string, s *ipvs.Service) []byte {
	b = r.key(append(b, verb...), s.ServiceKey)
	if s.Scheduler != "" {
		b = append(append(b, " -s "...), s.Scheduler...)
	}
	if s.Flags&ipvs.Persistent != 0 {
		b = strconv.AppendInt(append(b, " -p "...), int64(s.Timeout/time.Second), 10)
	}
	if !s.Netmask.IsDefault() && (s.Flags&ipvs.Persistent != 0 || !r.inEffect) {
		b = appendMask(append(b, " -M "...), s)
	}
	if s.PE != "" {
		b = append(append(b, " --pe "...), s.PE...)
	}
	if s.Flags&ipvs.OnePacket != 0 {
		b = append(b, " -o"...)
	}
	if s.Flags&ipvs.SchedFlags != 0 {
		b = appendSchedFlags(append(b, " -b "...), s)
	}
	b = fullNAT(b, s)
	if s.Proxy != ipvs.NoProxy {
		b = append(append(b, " --proxy-protocol "...), s.Proxy.String()...)
	}
	if s.Plane != ipvs.PlaneAuto {
		b = append(append(b, " --plane "...), s.Plane.String()...)
	}
	return b
}

func fullNAT(b []byte, s *ipvs.Service) []byte {
	if s.FullNAT {
		b = append(b, " --fullnat"...)
	}
	return b
}

func (r ruleWriter) local(b []byte, verb string, k ipvs.ServiceKey, a netip.Addr) []byte {
	return a.AppendTo(append(r.key(append(b, verb...), k), " -z "...))
}

func (r ruleWriter) destination(b []byte, verb string, k ipvs.ServiceKey, d *ipvs.Destination) []byte {
	b = append(r.key(append(b, verb...), k), " -r "...)
	b = r.endpoint(b, d.Addr, k.Protocol)
	b = append(b, methodOption(d.Method)...)
	b = strconv.AppendInt(append(b, " -w "...), int64(d.Weight), 10)
	if d.Upper != 0 {
		b = strconv.AppendUint(append(b, " -x "...), uint64(d.Upper), 10)
	}
	if d.Lower != 0 {
		b = strconv.AppendUint(append(b, " -y "...), uint64(d.Lower), 10)
	}
	if d.Method == ipvs.Tunnel {
		b = appendEncapOptions(b, d.Encap)
	}
	return b
}

// key appends the service's address option. A protocol that ipvsadm's language
// has no word for gets one that no parser takes for another protocol.
func (r ruleWriter) key(b []byte, k ipvs.ServiceKey) []byte {
	if k.FWMark != 0 {
		b = strconv.AppendUint(append(b, "-f "...), uint64(k.FWMark), 10)
		if k.Family == ipvs.IPv6 {
			b = append(b, " -6"...)
		}
		return b
	}
	switch k.Protocol {
	case ipvs.TCP:
		b = append(b, "-t "...)
	case ipvs.UDP:
		b = append(b, "-u "...)
	case ipvs.SCTP:
		b = append(b, "--sctp-service "...)
	default:
		b = strconv.AppendUint(append(b, "--protocol-"...), uint64(k.Protocol), 10)
		b = append(b, ' ')
	}
	return r.endpoint(b, k.Addr, k.Protocol)
}

// endpoint appends an address. A name that ipvsadm would cut is not said at all:
// the rule must lead back to the same server.
func (r ruleWriter) endpoint(b []byte, a netip.AddrPort, p ipvs.Protocol) []byte {
	start := len(b)
	if b = r.names.append(b, a, p); len(b)-start > maxEndpoint {
		b = appendEndpoint(b[:start], a)
	}
	return b
}

// methodOption is the word for a forwarding method. Local and Bypass are the
// kernel's own business and have none; ipvsadm says -g for them.
func methodOption(m ipvs.Method) string {
	switch m {
	case ipvs.NAT:
		return " -m"
	case ipvs.Tunnel:
		return " -i"
	case ipvs.FullNAT:
		return " -b"
	}
	return " -g"
}

func appendEncapOptions(b []byte, e ipvs.Encap) []byte {
	b = append(append(b, " --tun-type "...), e.Type.String()...)
	if e.Type == ipvs.IPIP {
		return b
	}
	if e.Type == ipvs.GUE {
		b = strconv.AppendUint(append(b, " --tun-port "...), uint64(e.Port), 10)
	}
	switch {
	case e.Flags&ipvs.RemCsum != 0:
		return append(b, " --tun-remcsum"...)
	case e.Flags&ipvs.Csum != 0:
		return append(b, " --tun-csum"...)
	}
	return append(b, " --tun-nocsum"...)
}

func appendMask(b []byte, s *ipvs.Service) []byte {
	if s.AF() == ipvs.IPv6 {
		n, _ := s.Netmask.Prefix(ipvs.IPv6)
		return strconv.AppendInt(b, int64(n), 10)
	}
	return netip.AddrFrom4(s.Netmask.IPv4()).AppendTo(b)
}

var schedFlagBits = [...]ipvs.Flags{ipvs.Sched1, ipvs.Sched2, ipvs.Sched3}

// schedFlagNames are the names of the three bits with a scheduler.
func schedFlagNames(scheduler string) [3]string {
	switch scheduler {
	case "sh":
		return [3]string{"sh-fallback", "sh-port", "flag-3"}
	case "mh":
		return [3]string{"mh-fallback", "mh-port", "flag-3"}
	}
	return [3]string{"flag-1", "flag-2", "flag-3"}
}

// appendSchedFlags appends the flags, comma separated, by the names they have
// with the service's scheduler.
func appendSchedFlags(b []byte, s *ipvs.Service) []byte {
	names := schedFlagNames(s.Scheduler)
	start := len(b)
	for i, f := range schedFlagBits {
		if s.Flags&f == 0 {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, names[i]...)
	}
	return b
}
