package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// plainVirtual is a service of which nothing is said.
func plainVirtual(c *Config) rawVirtual {
	raw := ownDefaults()
	raw.policy = c.Policy
	return raw
}

// ownDefaults are those of the keys that are no policy.
var ownDefaults = sync.OnceValue(func() (raw rawVirtual) {
	setDefaults(virtualKeys[:len(virtualKeys)-len(policyKeys)], &raw)
	return raw
})

// virtual reads one [[virtual]]. What is wrong with it is among r's problems.
func (r *reader) virtual(t *table, c *Config) *Virtual {
	raw := plainVirtual(c)
	before := len(r.problems)
	fill(r, "[[virtual]]", virtualKeys, t, &raw, "fallback", "fullnat", "check", "real")
	v := &Virtual{
		Name: raw.name, Forward: raw.forward, VIPInterface: raw.vipInterface, Quorum: raw.quorum,
		Hysteresis: raw.hysteresis, FallbackCommand: raw.fallbackCmd, Notify: raw.notify, Policy: raw.policy, Pos: Position{r.file, t.line},
	}
	if raw.hysteresis >= raw.quorum && raw.quorum > 0 {
		if l := t.at["quorum_hysteresis"].line; l != 0 {
			r.problem(l, "a sum that is below quorum by so much would be none", "quorum_hysteresis: %d is not less than quorum, %d", raw.hysteresis, raw.quorum)
		}
	}
	r.service(t, &raw, &v.Service)
	if !v.known() && len(r.problems) == before {
		r.problem(t.line, `like address = "192.0.2.10:80"`, "a service without address or fwmark")
	}
	if v.Name == "" {
		v.Name = DefaultName(v.Service.ServiceKey)
	}
	r.inside(t, v, c)
	return v
}

// known tells whether the file says which service it is. If not, that is a
// problem already, and what would follow from it is none.
func (v *Virtual) known() bool { return v.Service.ServiceKey != ipvs.ServiceKey{} }

// inside reads the tables of a service.
func (r *reader) inside(t *table, v *Virtual, c *Config) {
	r.vip(t, v)
	r.fullNAT(t, v)
	r.checks(t, v, c)
	r.reals(t, v, c)
	r.fallback(t, v)
}

// service makes the kernel's service of the file's words.
func (r *reader) service(t *table, raw *rawVirtual, s *ipvs.Service) {
	at := func(key string) int { return t.at[key].line }
	_, hasAddr := t.at["address"]
	_, hasMark := t.at["fwmark"]
	switch {
	case hasAddr && hasMark:
		r.problem(max(at("address"), at("fwmark")), "", "a service has an address or a fwmark, not both")
	case raw.fwmark != 0:
		var f ipvs.Family
		_ = f.UnmarshalText([]byte(raw.family)) // choiceKey has seen to it
		s.ServiceKey = ipvs.MarkService(raw.fwmark, f)
		if l := at("protocol"); l != 0 {
			r.problem(l, "", "protocol: a service of a firewall mark takes all protocols")
		}
	case raw.address.IsValid():
		var p ipvs.Protocol
		_ = p.UnmarshalText([]byte(raw.protocol))
		s.ServiceKey = ipvs.AddrService(p, raw.address)
		if l := at("family"); l != 0 {
			r.problem(l, "", "family: goes with fwmark only; an address tells its own")
		}
	}
	s.Scheduler, s.PE = raw.scheduler, raw.engine
	r.scheduler(t, s)
	s.Flags = r.flags(t, raw)
	r.persistence(t, raw, s)
	if raw.onePacket {
		s.Flags |= ipvs.OnePacket
		if s.FWMark == 0 && s.Protocol != 0 && s.Protocol != ipvs.UDP {
			r.problem(at("one_packet"), `protocol = "udp"?`, "one_packet: goes with UDP only, this is %s", s.Protocol)
		}
	}
}

// Schedulers are the names that Linux has.
func Schedulers() []string {
	return strings.Fields("rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh twos")
}

func (r *reader) scheduler(t *table, s *ipvs.Service) {
	line := t.at["scheduler"].line
	switch {
	case s.Scheduler == "":
		r.problem(line, "", "scheduler: no name")
	case !slices.Contains(Schedulers(), s.Scheduler):
		r.warn(line, didYouMean(s.Scheduler, Schedulers()), "scheduler: %q is none of Linux's own (%s)", s.Scheduler, strings.Join(Schedulers(), " "))
	}
}

func (r *reader) flags(t *table, raw *rawVirtual) (out ipvs.Flags) {
	for _, word := range raw.flags {
		for _, f := range flagNames {
			if f.word != word {
				continue
			}
			if f.scheduler != "" && f.scheduler != raw.scheduler {
				r.problem(t.at["scheduler_flags"].line, "", "scheduler_flags: %s goes with scheduler %s, not with %s", word, f.scheduler, raw.scheduler)
			}
			out |= f.flag
		}
	}
	return out
}

// persistence reads the keys of persistence, which say nothing without it.
func (r *reader) persistence(t *table, raw *rawVirtual, s *ipvs.Service) {
	at := func(key string) int { return t.at[key].line }
	if raw.persistent == 0 {
		for _, k := range []string{"persistent_prefix", "persistence_engine"} {
			if l := at(k); l != 0 && (k != "persistence_engine" || raw.engine != "") {
				r.problem(l, `persistent = "360s" is ipvsadm's default`, "%s: goes with persistent only", k)
			}
		}
		s.PE = ""
		if s.FWMark == 0 && s.Addr.IsValid() && s.Addr.Port() == 0 {
			r.problem(at("address"), `persistent = "360s" is ipvsadm's default`, "address: port 0, every port, needs persistent")
		}
		return
	}
	s.Flags |= ipvs.Persistent
	s.Timeout = raw.persistent
	if raw.persistent%time.Second != 0 {
		r.problem(at("persistent"), "", "persistent: %s is not whole seconds", FormatDuration(raw.persistent))
	}
	if s.ServiceKey == (ipvs.ServiceKey{}) {
		return
	}
	if raw.prefix != 0 {
		m, err := ipvs.PrefixMask(s.AF(), raw.prefix)
		if err != nil {
			r.problem(at("persistent_prefix"), "IPv4: 1 to 32, IPv6: 1 to 128", "persistent_prefix: %d is no prefix of %s", raw.prefix, s.AF())
		}
		s.Netmask = m
	}
	if s.PE == "sip" && s.FWMark == 0 && s.Protocol != ipvs.UDP {
		r.problem(at("persistence_engine"), "", "persistence_engine: sip reads UDP only, this is %s", s.Protocol)
	}
}

func (r *reader) vip(t *table, v *Virtual) {
	if v.VIPInterface != "" && v.Service.FWMark != 0 {
		r.problem(t.at["vip_interface"].line, "", "vip_interface: a service of a firewall mark has no address")
	}
}

func (r *reader) fullNAT(t *table, v *Virtual) {
	v.FullNAT = NewFullNAT()
	block(r, t, "fullnat", func(ft *table) {
		fill(r, "[virtual.fullnat]", fullNATKeys, ft, &v.FullNAT)
		if v.Forward != ipvs.FullNAT {
			r.problem(ft.line, `forward = "fullnat"?`, "fullnat: the service forwards by %s", v.Forward)
		}
		f := &v.FullNAT
		_, f.Asked.ConnectTimeout = ft.at["connect_timeout"]
		_, f.Asked.Retries = ft.at["retries"]
		if f.Plane == PlaneKernel {
			r.kernelFullNAT(ft, v)
		}
		if f.ProxyProtocol != "" && v.Service.Protocol == ipvs.SCTP {
			r.problem(ft.at["proxy_protocol"].line, "", "proxy_protocol: not with sctp")
		}
		if len(f.TrustedPeers) > 0 && f.ProxyProtocol == "" {
			r.problem(ft.at["trusted_peers"].line, `proxy_protocol = "v2"?`, "trusted_peers: without proxy_protocol real servers get no header")
		}
		if f.ProxyProtocol == "v1" && v.Service.Protocol == ipvs.UDP {
			r.problem(ft.at["proxy_protocol"].line, `"v2" or "v2-every"`, "proxy_protocol: v1 is for tcp")
		}
		if f.ProxyProtocol == "v2-every" && v.Service.Protocol == ipvs.TCP {
			r.problem(ft.at["proxy_protocol"].line, `"v2"`, "proxy_protocol: v2-every is for udp")
		}
		if f.Notrack && (v.Service.FWMark != 0 || v.known() && v.Service.Addr.Port() == 0) {
			r.problem(ft.at["notrack"].line, "", "notrack: goes with an address and a port")
		}
		if f.Plane == PlaneUserspace && v.Service.Protocol == ipvs.SCTP {
			r.problem(ft.line, `plane = "kernel"`, "plane: user space speaks TCP and UDP, not SCTP")
		}
	})
	if v.Forward != ipvs.FullNAT {
		v.FullNAT = FullNAT{}
	}
}

// kernelFullNAT reports what full NAT in the kernel cannot do, on any machine.
func (r *reader) kernelFullNAT(t *table, v *Virtual) {
	f := &v.FullNAT
	for key, there := range map[string]bool{"connect_timeout": f.Asked.ConnectTimeout, "proxy_protocol": f.ProxyProtocol != "", "retries": f.Asked.Retries, "notrack": f.Notrack, "max_connections": f.MaxConnections > 0, "cut_removed": f.CutRemoved} {
		if there {
			r.problem(t.at[key].line, `plane = "auto" or "userspace"`, "%s: the kernel cannot do that", key)
		}
	}
	switch {
	case v.Service.Flags&ipvs.OnePacket != 0:
		r.problem(t.at["plane"].line, `plane = "auto" or "userspace"`, "plane: the kernel loses the answers of one_packet services")
	case v.known() && !slices.ContainsFunc(f.Local, func(a netip.Addr) bool { return a.Is4() == (v.Service.AF() == ipvs.IPv4) }):
		r.problem(t.at["plane"].line, `like local = ["198.51.100.1-198.51.100.8"], addresses of the director`, "plane: the kernel needs local addresses of the service's family")
	}
}

// finish checks what only the whole tells.
func (r *reader) finish(c *Config) {
	seen := map[ipvs.ServiceKey]Position{}
	named := map[string]Position{}
	placed := map[netip.Addr]*Virtual{}
	for i := range c.Virtuals {
		v := &c.Virtuals[i]
		if r.file = v.Pos.File; !v.known() {
			continue
		}
		if p, twice := seen[v.Service.ServiceKey]; twice {
			r.problem(v.Pos.Line, "", "the service %s is there twice: also at %s", v.Service.ServiceKey, p)
		} else if p, twice := named[v.Name]; twice {
			r.problem(v.Pos.Line, "", "the name %s is there twice: also at %s", quote(v.Name), p)
		}
		seen[v.Service.ServiceKey], named[v.Name] = v.Pos, v.Pos
		if vip := v.Service.Addr.Addr(); v.VIPInterface != "" {
			if o := placed[vip]; o != nil && o.VIPInterface != v.VIPInterface {
				r.problem(v.Pos.Line, "an address is on one interface", "vip_interface: %s has %s on %s: also at %s", quote(o.Name), vip, o.VIPInterface, o.Pos)
			}
			placed[vip] = v
		}
	}
}

// String is "file:line".
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

func (r *reader) alert(t *table, c *Config) {
	a := &c.Alert
	if len(a.MailTo) > 0 && a.SMTP == "" {
		r.problem(t.at["mail_to"].line, `like smtp = "localhost:25"`, "mail_to: needs smtp, the mail server")
	}
	line := func(key string) int { return t.at[key].line }
	switch {
	case a.SMTPLogin != "" && a.SMTPPasswordFile == "":
		r.problem(line("smtp_login"), "", "smtp_login: needs smtp_password_file")
	case a.SMTPLogin == "" && a.SMTPPasswordFile != "":
		r.problem(line("smtp_password_file"), "", "smtp_password_file: needs smtp_login, whose password it is")
	}
	if a.SMTPKey != "" && a.SMTPCert == "" {
		r.problem(line("smtp_key"), "", "smtp_key: needs smtp_cert, whose key it is")
	}
	a.SMTPPassword = r.secretFile(line("smtp_password_file"), "smtp_password_file", a.SMTPPasswordFile, c)
	if len(a.Command) > 0 {
		r.program(t.at["command"].line, "command", a.Command)
	}
}

// program checks an argv.
func (r *reader) program(line int, key string, argv []string) {
	if err := absolute(argv[0]); err != nil || argv[0] == "" {
		hint := ""
		if len(argv) == 1 && strings.Contains(argv[0], " ") {
			hint = `each argument is a text of its own: ["/usr/bin/program", "argument"]; there is no shell`
		}
		r.problem(line, hint, "%s: the program needs a path that begins with /", key)
	}
}

func (r *reader) timeouts(t *table, c *Config) {
	for _, k := range []struct {
		name string
		d    time.Duration
	}{{"tcp", c.Timeouts.TCP}, {"tcp_fin", c.Timeouts.TCPFin}, {"udp", c.Timeouts.UDP}} {
		if k.d%time.Second != 0 {
			r.problem(t.at[k.name].line, "", "%s: %s is not whole seconds", k.name, FormatDuration(k.d))
		}
	}
}

func (r *reader) sync(t *table, c *Config) {
	var s rawSync
	setDefaults(syncKeys, &s)
	before := len(r.problems)
	fill(r, "[sync]", syncKeys, t, &s)
	switch {
	case len(r.problems) > before, len(s.states) == 0 && s.iface == "":
		return
	case len(s.states) == 0:
		r.problem(t.line, `state = ["master"]`, "sync: needs a state")
	case s.iface == "":
		r.problem(t.line, `like interface = "eth1"`, "sync: needs an interface")
	}
	c.Sync = s.daemons()
}
