package ipvsadm

import (
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// listJSON prints the whole of every service and destination, whatever the
// view: a script should not need three calls. Numbers only, never scaled.
func listJSON(out *output, k Reader, info ipvs.Info, services []ipvs.ServiceInfo, o ListOptions) error {
	j := jsonText{b: out.b, first: true}
	j.open('{')
	j.str("ipvs_version", string(appendKernelVersion(nil, info.Version)))
	j.uint("conn_tab_size", uint64(info.ConnTabSize))
	j.field("services", '[')
	r := tableReader{k: k, noSort: o.NoSort}
	err := r.each(services, func(s *ipvs.ServiceInfo, ds []ipvs.DestinationInfo) error {
		j.line()
		j.service(s, ds)
		out.b = j.b
		err := out.spill()
		j.b = out.b
		return err
	})
	if err == nil {
		j.close(']')
		j.close('}')
		j.b = append(j.b, '\n')
	}
	out.b = j.b
	return out.end(err)
}

func (j *jsonText) service(s *ipvs.ServiceInfo, ds []ipvs.DestinationInfo) {
	j.open('{')
	j.serviceKey(s.ServiceKey)
	j.str("scheduler", s.Scheduler)
	j.flags(&s.Service)
	j.uint("persistent_timeout", persistence(&s.Service))
	j.key("netmask")
	j.b, j.first = append(appendMask(append(j.b, '"'), &s.Service), '"'), false
	j.str("pe", s.PE)
	j.fullNAT(s)
	j.stats(&s.Stats)
	j.field("destinations", '[')
	for i := range ds {
		j.line()
		j.destination(&ds[i])
	}
	j.close(']')
	j.close('}')
}

// fullNAT appends what only services of full NAT have; others have no such field.
func (j *jsonText) fullNAT(s *ipvs.ServiceInfo) {
	if !s.FullNAT {
		return
	}
	j.field("fullnat", '{')
	j.key("managed")
	j.b, j.first = strconv.AppendBool(j.b, s.Managed), false
	j.str("proxy_protocol", s.Proxy.String())
	j.str("plane", s.Plane.String())
	if s.Runs != ipvs.PlaneAuto {
		j.str("runs_in", s.Runs.String())
	}
	j.field("locals", '[')
	for i := range s.Locals {
		l := &s.Locals[i]
		j.open('{')
		j.addr("address", l.Addr)
		j.uint("conns", l.Conns)
		j.uint("conflicts", l.Conflicts)
		j.close('}')
	}
	j.close(']')
	j.close('}')
}

// serviceKey appends what identifies a service: either fwmark and family, or
// protocol, address and port.
func (j *jsonText) serviceKey(k ipvs.ServiceKey) {
	j.str("family", k.AF().String())
	if k.FWMark != 0 {
		j.uint("fwmark", uint64(k.FWMark))
		return
	}
	j.str("protocol", k.Protocol.String())
	j.addr("address", k.Addr.Addr())
	j.uint("port", uint64(k.Addr.Port()))
}

// flags appends the flags by ipvsadm's names, bits without a name as 0x40.
func (j *jsonText) flags(s *ipvs.Service) {
	j.field("flags", '[')
	if s.Flags&ipvs.Persistent != 0 {
		j.element("persistent")
	}
	if s.Flags&ipvs.OnePacket != 0 {
		j.element("ops")
	}
	names := schedFlagNames(s.Scheduler)
	for i, f := range schedFlagBits {
		if s.Flags&f != 0 {
			j.element(names[i])
		}
	}
	const known = ipvs.Persistent | ipvs.OnePacket | ipvs.SchedFlags
	for rest := s.Flags &^ known; rest != 0; rest &= rest - 1 {
		j.element("0x" + strconv.FormatUint(uint64(rest&-rest), 16))
	}
	j.close(']')
}

// persistence is the timeout in seconds, 0 for a service that is not persistent
// (the kernel may hold a timeout all the same).
func persistence(s *ipvs.Service) uint64 {
	if s.Flags&ipvs.Persistent == 0 {
		return 0
	}
	return uint64(s.Timeout / time.Second)
}

func (j *jsonText) destination(d *ipvs.DestinationInfo) {
	j.open('{')
	j.addr("address", d.Addr.Addr())
	j.uint("port", uint64(d.Addr.Port()))
	j.str("method", d.Method.String())
	if d.Method == ipvs.Tunnel {
		j.field("tunnel", '{')
		j.str("type", d.Encap.Type.String())
		j.uint("port", uint64(d.Encap.Port))
		j.str("checksum", d.Encap.Flags.String())
		j.close('}')
	}
	j.int("weight", int64(d.Weight))
	j.uint("upper_threshold", uint64(d.Upper))
	j.uint("lower_threshold", uint64(d.Lower))
	j.uint("active_conns", uint64(d.Active))
	j.uint("inactive_conns", uint64(d.Inactive))
	j.uint("persistent_conns", uint64(d.Persistent))
	j.stats(&d.Stats)
	j.close('}')
}

func (j *jsonText) stats(s *ipvs.Stats) {
	j.field("stats", '{')
	j.uint("conns", s.Conns)
	j.uint("in_packets", s.InPkts)
	j.uint("out_packets", s.OutPkts)
	j.uint("in_bytes", s.InBytes)
	j.uint("out_bytes", s.OutBytes)
	j.close('}')
	j.field("rates", '{')
	j.uint("conns", s.CPS)
	j.uint("in_packets", s.InPPS)
	j.uint("out_packets", s.OutPPS)
	j.uint("in_bytes", s.InBPS)
	j.uint("out_bytes", s.OutBPS)
	j.close('}')
}

func appendTimeoutsJSON(b []byte, t ipvs.Timeouts) []byte {
	j := jsonText{b: b, first: true}
	j.open('{')
	j.timeouts(t)
	j.close('}')
	return append(j.b, '\n')
}

func (j *jsonText) timeouts(t ipvs.Timeouts) {
	j.field("timeouts", '{')
	j.int("tcp", int64(t.TCP/time.Second))
	j.int("tcp_fin", int64(t.TCPFin/time.Second))
	j.int("udp", int64(t.UDP/time.Second))
	j.close('}')
}

func appendDaemonsJSON(b []byte, daemons []ipvs.Daemon) []byte {
	j := jsonText{b: b, first: true}
	j.open('{')
	j.field("daemons", '[')
	for i := range daemons {
		d := &daemons[i]
		j.line()
		j.open('{')
		j.str("state", d.State.String())
		j.str("interface", d.Interface)
		j.uint("sync_id", uint64(d.SyncID))
		j.uint("max_len", uint64(d.MaxLen))
		j.addr("group", d.Group)
		j.uint("port", uint64(d.Port))
		j.uint("ttl", uint64(d.TTL))
		j.close('}')
	}
	j.close(']')
	j.close('}')
	return append(j.b, '\n')
}

// AppendServices appends the document of -L --json for services of full NAT,
// which no kernel's version goes with, on one line. What goipvsd answers to
// VerbList.
func AppendServices(b []byte, services []ipvs.ServiceInfo, dests map[ipvs.ServiceKey][]ipvs.DestinationInfo, t ipvs.Timeouts) []byte {
	j := jsonText{b: b, first: true, oneLine: true}
	j.open('{')
	j.timeouts(t)
	j.field("services", '[')
	for i := range services {
		j.service(&services[i], dests[services[i].ServiceKey])
	}
	j.close(']')
	j.close('}')
	return j.b
}
