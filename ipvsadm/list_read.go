package ipvsadm

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// listing is services with their destinations.
type listing struct {
	services []ipvs.ServiceInfo
	dests    map[ipvs.ServiceKey][]ipvs.DestinationInfo
	timeouts ipvs.Timeouts
}

// readListing reads the document that -L --json prints.
// Fields that it does not know are passed over.
func readListing(document []byte) (l listing, err error) {
	j := jsonReader{b: document}
	l.dests = make(map[ipvs.ServiceKey][]ipvs.DestinationInfo)
	j.object(func(name string) {
		switch name {
		case "timeouts":
			l.timeouts = j.timeouts()
			return
		case "services":
		default:
			j.skip()
			return
		}
		j.array(func() {
			s, ds := j.service()
			if _, twice := l.dests[s.ServiceKey]; twice || s.FWMark == 0 && !s.Addr.IsValid() {
				j.fail()
				return
			}
			l.services = append(l.services, s)
			l.dests[s.ServiceKey] = ds
		})
	})
	return l, j.end()
}

func (j *jsonReader) timeouts() (t ipvs.Timeouts) {
	j.object(func(name string) {
		var seconds uint32
		number64(j, &seconds)
		switch d := time.Duration(seconds) * time.Second; name {
		case "tcp":
			t.TCP = d
		case "tcp_fin":
			t.TCPFin = d
		case "udp":
			t.UDP = d
		}
	})
	return t
}

func (j *jsonReader) service() (s ipvs.ServiceInfo, ds []ipvs.DestinationInfo) {
	var addr netip.Addr
	var port uint16
	var mark uint32
	var family ipvs.Family
	var flags []string
	var seconds uint32
	var mask string
	j.object(func(name string) {
		switch name {
		case "protocol":
			j.text(&s.Protocol)
		case "address":
			addr = j.addr()
		case "port":
			number64(j, &port)
		case "fwmark":
			number64(j, &mark)
		case "family":
			j.text(&family)
		case "scheduler":
			s.Scheduler = j.string()
		case "flags":
			j.array(func() { flags = append(flags, j.string()) })
		case "persistent_timeout":
			number64(j, &seconds)
		case "netmask":
			mask = j.string()
		case "pe":
			s.PE = j.string()
		case "fullnat":
			j.fullNAT(&s)
		case "stats":
			j.stats(&s.Stats, false)
		case "rates":
			j.stats(&s.Stats, true)
		case "destinations":
			j.array(func() { ds = append(ds, j.destination()) })
		default:
			j.skip()
		}
	})
	if s.Addr = netip.AddrPortFrom(addr, port); mark != 0 {
		s.ServiceKey = ipvs.MarkService(mark, family)
	}
	s.Timeout = time.Duration(seconds) * time.Second
	for _, f := range flags {
		s.Flags |= j.flag(f, s.Scheduler)
	}
	if mask != "" && (mark != 0 || addr.IsValid()) {
		p := parser{mask: mask}
		m, err := p.netmask(s.AF())
		if err != nil {
			j.fail()
		}
		s.Netmask = m
	}
	return s, ds
}

// text reads a word that a type knows.
func (j *jsonReader) text(to interface{ UnmarshalText([]byte) error }) {
	if w := j.string(); j.err == nil && to.UnmarshalText([]byte(w)) != nil {
		j.fail()
	}
}

func (j *jsonReader) flag(word, scheduler string) ipvs.Flags {
	switch word {
	case "persistent":
		return ipvs.Persistent
	case "ops":
		return ipvs.OnePacket
	}
	for i, n := range schedFlagNames(scheduler) {
		if n == word {
			return schedFlagBits[i]
		}
	}
	n, err := strconv.ParseUint(word, 0, 32)
	if err != nil {
		j.fail()
	}
	return ipvs.Flags(n)
}

func (j *jsonReader) fullNAT(s *ipvs.ServiceInfo) {
	s.FullNAT = true
	j.object(func(name string) {
		switch name {
		case "managed":
			s.Managed = j.bool()
		case "proxy_protocol":
			j.text(&s.Proxy)
		case "plane":
			j.text(&s.Plane)
		case "runs_in":
			j.text(&s.Runs)
		case "locals":
			j.array(func() { s.Locals = append(s.Locals, j.local()) })
		default:
			j.skip()
		}
	})
}

func (j *jsonReader) local() (l ipvs.LocalInfo) {
	j.object(func(name string) {
		switch name {
		case "address":
			l.Addr = j.addr()
		case "conns":
			number64(j, &l.Conns)
		case "conflicts":
			number64(j, &l.Conflicts)
		default:
			j.skip()
		}
	})
	return l
}

// destination reads one of any method but a tunnel, whose particulars full NAT
// does not have.
func (j *jsonReader) destination() (d ipvs.DestinationInfo) {
	var addr netip.Addr
	var port uint16
	j.object(func(name string) {
		switch name {
		case "address":
			addr = j.addr()
		case "port":
			number64(j, &port)
		case "method":
			j.text(&d.Method)
		case "weight":
			j.int32(&d.Weight)
		case "upper_threshold":
			number64(j, &d.Upper)
		case "lower_threshold":
			number64(j, &d.Lower)
		case "active_conns":
			number64(j, &d.Active)
		case "inactive_conns":
			number64(j, &d.Inactive)
		case "persistent_conns":
			number64(j, &d.Persistent)
		case "stats":
			j.stats(&d.Stats, false)
		case "rates":
			j.stats(&d.Stats, true)
		default:
			j.skip()
		}
	})
	d.Addr = netip.AddrPortFrom(addr, port)
	return d
}

func (j *jsonReader) stats(s *ipvs.Stats, rates bool) {
	to := [...]*uint64{&s.Conns, &s.InPkts, &s.OutPkts, &s.InBytes, &s.OutBytes}
	if rates {
		to = [...]*uint64{&s.CPS, &s.InPPS, &s.OutPPS, &s.InBPS, &s.OutBPS}
	}
	j.object(func(name string) {
		for i, n := range [...]string{"conns", "in_packets", "out_packets", "in_bytes", "out_bytes"} {
			if n == name {
				number64(j, to[i])
				return
			}
		}
		j.skip()
	})
}
