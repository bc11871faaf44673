package ipvsadm

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// A month of 31 days is ipvsadm's longest timeout (the kernel counts in
// jiffies and would overflow somewhere beyond).
const maxTimeout = 31 * 24 * 3600

// number reads a decimal number and nothing else: no sign, no blank, no 0x.
func number(s, what string, lo, hi uint32) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < uint64(lo) || n > uint64(hi) {
		return 0, usage("", "illegal "+what+" specified (a number from "+
			strconv.FormatUint(uint64(lo), 10)+" to "+strconv.FormatUint(uint64(hi), 10)+")")
	}
	return uint32(n), nil
}

func setWeight(p *parser, v string) error {
	n, err := number(v, "weight", 0, math.MaxInt32)
	p.cmd.Change.Destination.Weight = int32(n)
	return err
}

func setUpper(p *parser, v string) (err error) {
	p.cmd.Change.Destination.Upper, err = number(v, "u_threshold", 0, math.MaxInt32)
	return err
}

func setLower(p *parser, v string) (err error) {
	p.cmd.Change.Destination.Lower, err = number(v, "l_threshold", 0, math.MaxInt32)
	return err
}

// name refuses what would be cut on its way: the kernel's strings end at a NUL,
// and nothing below a blank is in any name.
func name(v, what string) (string, error) {
	if control(v) {
		return "", usage("", "illegal "+what+" specified")
	}
	return v, nil
}

func setScheduler(p *parser, v string) (err error) {
	p.cmd.Change.Service.Scheduler, err = name(v, "scheduler")
	return err
}

func setEngine(p *parser, v string) (err error) {
	p.cmd.Change.Service.PE, err = name(v, "persistence engine")
	return err
}

func setOnePacket(p *parser, _ string) error {
	p.cmd.Change.Service.Flags |= ipvs.OnePacket
	return nil
}

func setPersistent(p *parser, v string) error {
	n, err := number(v, "timeout value", 1, maxTimeout)
	p.cmd.Change.Service.Timeout = time.Duration(n) * time.Second
	return err
}

func setNAT(p *parser, _ string) error          { return p.method(ipvs.NAT) }
func setDirectRoute(p *parser, _ string) error  { return p.method(ipvs.DirectRoute) }
func setTunnelMethod(p *parser, _ string) error { return p.method(ipvs.Tunnel) }
func setFullNAT(p *parser, _ string) error      { return p.method(ipvs.FullNAT) }

// setFullNATService: beside a service -b is something else, so full NAT has its
// long name only.
func setFullNATService(p *parser, _ string) error {
	p.cmd.Change.Service.FullNAT = true
	return nil
}

// setProxy takes dpvs' words. Its -insecure ones pass on a header that a client
// sent, who can say anything in it.
func setProxy(p *parser, v string) error {
	s := &p.cmd.Change.Service
	switch v {
	case "v1-insecure", "v2-insecure":
		return usage("", "not supported: whoever connects could say who he is; trusted_peers in goipvs.toml names those who may (v1, v2, v2-every or disable)")
	case "":
		return usage("", "illegal proxy protocol specified (v1, v2, v2-every or disable)")
	}
	if s.Proxy.UnmarshalText([]byte(v)) != nil {
		return usage("", "illegal proxy protocol specified (v1, v2, v2-every or disable)")
	}
	s.FullNAT = true
	return nil
}

// setPlane says where full NAT is to be done, in the words of goipvs.toml.
func setPlane(p *parser, v string) error {
	s := &p.cmd.Change.Service
	if s.Plane.UnmarshalText([]byte(v)) != nil {
		return usage("", "illegal plane specified (auto, kernel or userspace)")
	}
	s.FullNAT = true
	return nil
}

// setSynProxy has nothing to set: SYN cookies of the kernel do for full NAT what
// the forks' synproxy does, and IPVS has nothing like it.
func setSynProxy(_ *parser, v string) error {
	if v != "enable" && v != "disable" {
		return usage("", "illegal synproxy specified (enable or disable)")
	}
	return nil
}

func (p *parser) method(m ipvs.Method) error {
	p.cmd.Change.Destination.Method = m
	return nil
}

func setTunnelType(p *parser, v string) error {
	for i := range tunnelRows {
		if tunnelRows[i].name == v {
			p.cmd.Change.Destination.Encap.Type = ipvs.TunnelType(i)
			return nil
		}
	}
	return usage("", "illegal tunnel type specified (ipip, gue or gre)")
}

func setTunnelPort(p *parser, v string) error {
	n, err := number(v, "tunnel port", 1, math.MaxUint16)
	p.cmd.Change.Destination.Encap.Port = uint16(n)
	return err
}

func setChecksum(p *parser, _ string) error       { return p.checksum(ipvs.Csum) }
func setRemoteChecksum(p *parser, _ string) error { return p.checksum(ipvs.RemCsum) }

func (p *parser) checksum(f ipvs.TunnelFlags) error {
	p.cmd.Change.Destination.Encap.Flags = f
	return nil
}

func setDaemonState(p *parser, v string) error {
	switch v {
	case "master":
		p.cmd.Daemon.State = ipvs.Master
	case "backup":
		p.cmd.Daemon.State = ipvs.Backup
	default:
		return usage("", "illegal "+commandRows[p.cmd.Action].name+" parameter specified (master or backup)")
	}
	return nil
}

func setSyncID(p *parser, v string) (err error) {
	p.cmd.Daemon.SyncID, err = number(v, "syncid", 0, 255)
	return err
}

func setMaxLen(p *parser, v string) error {
	n, err := number(v, "sync-maxlen", 1, math.MaxUint16-20-8) // less the headers of IPv4 and UDP
	p.cmd.Daemon.MaxLen = uint16(n)
	return err
}

func setMcastInterface(p *parser, v string) (err error) {
	p.cmd.Daemon.Interface, err = name(v, "mcast-interface")
	return err
}

func setMcastPort(p *parser, v string) error {
	n, err := number(v, "mcast-port", 1, math.MaxUint16)
	p.cmd.Daemon.Port = uint16(n)
	return err
}

func setMcastTTL(p *parser, v string) error {
	n, err := number(v, "mcast-ttl", 1, math.MaxUint8)
	p.cmd.Daemon.TTL = uint8(n)
	return err
}

func setMcastGroup(p *parser, v string) error {
	addr, ok := numeric(v)
	if !ok || !addr.IsMulticast() || addr.Is4In6() {
		return usage("", "invalid mcast-group (an IPv4 or IPv6 multicast address)")
	}
	p.cmd.Daemon.Group = addr
	return nil
}

// schedulerFlags are the words of -b. The kernel has three flags whose meaning
// is the scheduler's.
var schedulerFlags = [...]struct {
	word, scheduler string // scheduler "": any
	flag            ipvs.Flags
}{
	{"flag-1", "", ipvs.Sched1},
	{"flag-2", "", ipvs.Sched2},
	{"flag-3", "", ipvs.Sched3},
	{"sh-fallback", "sh", ipvs.Sched1},
	{"sh-port", "sh", ipvs.Sched2},
	{"mh-fallback", "mh", ipvs.Sched1},
	{"mh-port", "mh", ipvs.Sched2},
}

func setSchedFlags(p *parser, v string) error {
	p.flags = v
	return nil
}

// readFlags reads -b: words separated by commas, of which ipvsadm takes any number
// in a row for one. It crashes when there is nothing else.
func (p *parser) readFlags() error {
	s := &p.cmd.Change.Service
	if p.flags != "" && strings.Trim(p.flags, ",") == "" {
		return usage(p.flags, "no scheduler flag specified")
	}
	for list := p.flags; list != ""; {
		var word string
		word, list, _ = strings.Cut(list, ",")
		if word == "" {
			continue
		}
		f, err := schedulerFlag(word, s.Scheduler)
		if err != nil {
			return err
		}
		s.Flags |= f
	}
	return nil
}

func schedulerFlag(word, scheduler string) (ipvs.Flags, error) {
	for _, f := range schedulerFlags {
		if f.word != word {
			continue
		}
		if f.scheduler != "" && f.scheduler != scheduler {
			return 0, usage(word, "incompatible scheduler flag (it is for -s "+f.scheduler+")")
		}
		return f.flag, nil
	}
	return 0, usage(word, "invalid scheduler flag")
}
