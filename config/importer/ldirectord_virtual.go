package importer

import (
	"net/netip"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// ldVirtual is a virtual section while it is converted.
type ldVirtual struct {
	section
	config.Virtual
	six bool
}

func (l *ldirectord) virtual(s section) {
	v := &ldVirtual{section: s, six: s.head.name == "virtual6"}
	v.Quorum, v.Policy = 1, l.cfg.Policy
	v.Pos = config.Position{File: l.file, Line: s.head.line}
	v.Service.Scheduler = "wrr"
	if !l.service(v) {
		return
	}
	l.schedule(v)
	l.persist(v)
	v.Policy.Quiescent = l.yes(s.get("quiescent"), v.Policy.Quiescent)
	l.others(v)
	v.Checks = l.checks(v)
	for _, d := range s.reals {
		l.real(v, d)
	}
	v.Forward = commonMethod(v.Reals)
	l.fallback(v)
	l.add(v.Virtual, s.head.place)
}

// service finds the key of the kernel's service. Without one there is nothing
// to convert.
func (l *ldirectord) service(v *ldVirtual) bool {
	text, family := v.head.value, ipvs.IPv4
	if v.six {
		family = ipvs.IPv6
	}
	proto, known := l.protocol(v)
	if mark, ok := isMark(text); ok {
		if mark == 0 {
			l.lose(v.head.place, "%s: a firewall mark is not 0: the service is left out", v.head.name)
			return false
		}
		v.Service.ServiceKey = ipvs.MarkService(mark, family)
		return true
	}
	host, port, ok := cutPort(text)
	if !ok {
		l.lose(v.head.place, "%s: want ADDRESS:PORT or a firewall mark, found %s: the service is left out", v.head.name, clip(text))
		return false
	}
	a, err := l.host(host, family)
	if err != nil {
		l.lose(v.head.place, "%s: %v: the service is left out", v.head.name, err)
		return false
	}
	if p, err := l.port(port, proto); err != nil {
		l.lose(v.head.place, "%s: %v: the service is left out", v.head.name, err)
		return false
	} else {
		if !known && p == 53 {
			proto = ipvs.UDP
		}
		v.Service.ServiceKey = ipvs.AddrService(proto, netip.AddrPortFrom(a, p))
	}
	return true
}

// protocol reads protocol=; known tells whether it said something.
func (l *ldirectord) protocol(v *ldVirtual) (p ipvs.Protocol, known bool) {
	d := v.get("protocol")
	_, mark := isMark(v.head.value)
	switch strings.ToLower(d.value) {
	case "tcp":
		return ipvs.TCP, true
	case "udp":
		return ipvs.UDP, true
	case "":
		return ipvs.TCP, false
	case "fwm":
		if !mark {
			l.lose(d.place, "protocol: fwm goes with a firewall mark")
		}
		return ipvs.TCP, false
	}
	l.lose(d.place, "protocol: %s is none of tcp, udp and fwm", clip(d.value))
	return ipvs.TCP, false
}

func isMark(s string) (uint32, bool) {
	if s == "" || len(s) > 10 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	var n uint64
	for _, c := range s {
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), n < 1<<32
}

// cutPort cuts at the last colon; IPv6 addresses are in brackets.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || strings.HasSuffix(s, "]") || strings.Count(s, ":") > 1 && s[i-1] != ']' {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func isAddress(s string) bool { _, err := netip.ParseAddr(strings.Trim(s, "[]")); return err == nil }

func (l *ldirectord) schedule(v *ldVirtual) {
	if d := v.get("scheduler"); d.known() {
		name := strings.ToLower(d.value)
		if name == "" || len(name) > 15 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
			l.lose(d.place, "scheduler: bad name %s: wrr is taken", clip(d.value))
		} else {
			v.Service.Scheduler = name
		}
	}
	d := v.get("schedflags")
	for _, w := range strings.FieldsFunc(d.value, func(r rune) bool { return r == ',' || r == ' ' || r == '"' }) {
		f, ok := schedFlag(w, v.Service.Scheduler)
		if !ok {
			l.lose(d.place, "schedflags: %s is no flag of %s", clip(w), v.Service.Scheduler)
		}
		v.Service.Flags |= f
	}
	if d := v.get("ops"); l.yes(d, false) {
		if v.Service.FWMark == 0 && v.Service.Protocol != ipvs.UDP {
			l.lose(d.place, "ops: goes with udp only")
		} else {
			v.Service.Flags |= ipvs.OnePacket
		}
	}
}

// schedFlag is a flag by ipvsadm's words.
func schedFlag(w, scheduler string) (ipvs.Flags, bool) {
	switch w {
	case "flag-1":
		return ipvs.Sched1, true
	case "flag-2":
		return ipvs.Sched2, true
	case "flag-3":
		return ipvs.Sched3, true
	case scheduler + "-fallback":
		return ipvs.Sched1, scheduler == "sh" || scheduler == "mh"
	case scheduler + "-port":
		return ipvs.Sched2, scheduler == "sh" || scheduler == "mh"
	}
	return 0, false
}

func (l *ldirectord) persist(v *ldVirtual) {
	d, mask := v.get("persistent"), v.get("netmask")
	n := l.number(d, 0)
	if n == 0 {
		return // ldirectord drops a netmask without it, too
	}
	if n > 31*86400 {
		l.lose(d.place, "persistent: %d s is more than 31 days", n)
		n = 31 * 86400
	}
	v.Service.Flags |= ipvs.Persistent
	v.Service.Timeout = time.Duration(n) * time.Second
	if mask.known() {
		m, err := netmask(mask.value, v.Service.AF())
		if err != nil {
			l.lose(mask.place, "netmask: %v", err)
		}
		v.Service.Netmask = m
	}
}

// others are directives that belong to a service and change little.
func (l *ldirectord) others(v *ldVirtual) {
	if d := v.get("servicename"); d.known() {
		v.Name = d.value
	}
	if d := v.get("comment"); d.known() {
		v.Comment = d.value
	}
	if d := v.get("fallbackcommand"); d.known() {
		v.FallbackCommand = l.command(d)
	} else if g := l.global.get("fallbackcommand"); g.known() {
		v.FallbackCommand = l.command(g)
	}
	for name, why := range map[string]string{
		"monitorfile":      "goipvs status and the log tell of checks",
		"emailalertstatus": "goipvs mails events, see [alert] on",
		"smtp":             "there is one mail server, in [alert]",
		"emailalertfreq":   "there is one repeat, in [alert]",
	} {
		g := l.global.get(name)
		if d := v.get(name); d.known() && d.value != "" && d.value != g.value {
			l.lose(d.place, "%s: %s", name, why)
		}
	}
	if d := v.get("emailalert"); d.known() && d.value != "" && d.value != l.global.get("emailalert").value {
		l.lose(d.place, "emailalert: mail goes to the addresses of [alert], for all services")
	}
	if d := v.get("cleanstop"); d.known() && l.yes(d, true) != (l.cfg.OnStop == config.StopFlush) {
		l.lose(d.place, "cleanstop: on_stop is for all services")
	}
}

// command is a program that ldirectord starts without a shell.
func (l *ldirectord) command(d directive) []string {
	argv := strings.Fields(d.value)
	if len(argv) > 0 && !strings.HasPrefix(argv[0], "/") {
		l.lose(d.place, "%s: %s is no path from /", d.name, clip(argv[0]))
		return nil
	}
	return argv
}
