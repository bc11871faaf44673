package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// rawVirtual is a service in the file's words.
type rawVirtual struct {
	name         string
	address      netip.AddrPort
	fwmark       uint32
	family       string
	protocol     string
	scheduler    string
	flags        []string
	persistent   time.Duration
	prefix       int
	engine       string
	onePacket    bool
	forward      ipvs.Method
	vipInterface string
	quorum       int
	hysteresis   int
	fallbackCmd  []string
	notify       Notify
	policy       Policy
}

var virtualKeys = append([]key[rawVirtual]{
	textKey("name", "", "Name in logs, status and metrics. Not given: the address.",
		func(v *rawVirtual) *string { return &v.name }, printable),
	{"address", "", "Virtual address and port, such as \"192.0.2.10:80\" or \"[2001:db8::10]:80\". Port 0 is every port and needs `persistent`.",
		func(r *reader, n node, v *rawVirtual) { v.address = r.virtualAddress(n) },
		func(v *rawVirtual) string {
			if !v.address.IsValid() {
				return `""`
			}
			return quote(v.address.String())
		}},
	{"fwmark", "", "Firewall mark, in place of `address` and `protocol`.",
		func(r *reader, n node, v *rawVirtual) {
			i, ok := typed[int64](r, n, "fwmark", "a whole number")
			if ok && (i < 1 || i > 1<<32-1) {
				r.problem(n.line, "", "fwmark: %d is not within 1 to 4294967295", i)
			} else if ok {
				v.fwmark = uint32(i)
			}
		},
		func(v *rawVirtual) string { return fmt.Sprint(v.fwmark) }},
	choiceKey("family", `"ipv4"`, "Family of a service of a firewall mark: `ipv4` or `ipv6`.",
		func(v *rawVirtual) *string { return &v.family }, "ipv4", "ipv6"),
	choiceKey("protocol", `"tcp"`, "`tcp`, `udp` or `sctp`.",
		func(v *rawVirtual) *string { return &v.protocol }, "tcp", "udp", "sctp"),
	textKey("scheduler", `"wlc"`, "Which server a connection gets: rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh, or any name that the kernel knows.",
		func(v *rawVirtual) *string { return &v.scheduler }, kernelName),
	listKey("scheduler_flags", "[]", "sh-fallback sh-port mh-fallback mh-port, or flag-1 flag-2 flag-3 of any scheduler.",
		func(v *rawVirtual) *[]string { return &v.flags }, func(s string) error { return oneOf(s, flagWords()) }),
	spanKey("persistent", `"0s"`, "How long a client stays with its server, in whole seconds. \"0s\": it does not.",
		func(v *rawVirtual) *time.Duration { return &v.persistent }, 0, 31*day),
	intKey("persistent_prefix", "", "Clients whose addresses agree in so many bits stay together: 1 to 32, 1 to 128 for IPv6. Not given: each by itself.",
		func(v *rawVirtual) *int { return &v.prefix }, 1, 128),
	textKey("persistence_engine", `""`, "By what clients are known again: \"sip\" is the Call-ID. Empty: their address.",
		func(v *rawVirtual) *string { return &v.engine }, kernelName),
	boolKey("one_packet", "false", "Each packet is scheduled by itself; UDP only.",
		func(v *rawVirtual) *bool { return &v.onePacket }),
	methodKey("forward", `"dr"`, "How packets reach the servers: `nat`, `dr`, `tun` or `fullnat` (`masq`, `gate`, `ipip` are the same as the first three).",
		func(v *rawVirtual) *ipvs.Method { return &v.forward }),
	textKey("vip_interface", `""`, "Interface that gets the virtual address while the service runs; the address is announced. Empty: none does.",
		func(v *rawVirtual) *string { return &v.vipInterface }, ifaceName),
	intKey("quorum", "1", "Sum of weights below which the service counts as down.",
		func(v *rawVirtual) *int { return &v.quorum }, 1, 1<<31-1),
	intKey("quorum_hysteresis", "0", "A service that is up is down when the sum is below `quorum` by more than this; one that is down is up when the sum is above `quorum` by this, or all servers are up (keepalived's `hysteresis`).",
		func(v *rawVirtual) *int { return &v.hysteresis }, 0, 1<<31-1),
	listKey("fallback_command", "[]", "Program and arguments, to which \"start\" or \"stop\" is added, run when the fallback comes into use and when it leaves.",
		func(v *rawVirtual) *[]string { return &v.fallbackCmd }, nil),
	notifyKey("notify_up", "Program and arguments, run when the service comes up, at the daemon's start, too (keepalived's `quorum_up`), with GOIPVS_EVENT (`up` or `down`), GOIPVS_VIRTUAL, GOIPVS_REAL and GOIPVS_REASON in its environment; without a shell.",
		func(v *rawVirtual) *[]string { return &v.notify.Up }),
	notifyKey("notify_down", "The same when it goes down (keepalived's `quorum_down`).",
		func(v *rawVirtual) *[]string { return &v.notify.Down }),
}, lift(policyKeys, func(v *rawVirtual) *Policy { return &v.policy })...)

// fullNATKeys are those of [virtual.fullnat].
var fullNATKeys = []key[FullNAT]{
	choiceKey("plane", `"auto"`, "Where it is done: `kernel` (IPVS, and rules of source NAT in nftables), `userspace` (in goipvsd), or `auto`: the kernel where it can do what is asked. `goipvs status` tells which and why.",
		func(f *FullNAT) *Plane { return &f.Plane }, PlaneAuto, PlaneKernel, PlaneUserspace),
	{"local", "[]", "Source addresses towards the real servers, and ranges of them: \"198.51.100.1-198.51.100.8\". Empty: the director's own.",
		func(r *reader, n node, f *FullNAT) {
			texts, ok := r.texts(n, "local", nil)
			if !ok {
				return
			}
			list, err := parseRanges(texts)
			if err != nil {
				r.problem(n.line, hintOf(err), "local: %v", err)
			}
			if a, twice := duplicate(list); twice {
				r.problem(n.line, "", "local: %s is there twice", a)
			}
			f.Local = list
		},
		func(f *FullNAT) string { return quoteList(formatRanges(f.Local)) }},
	choiceKey("proxy_protocol", `""`, "`v1` (TCP) or `v2`: the real server is told the client's address by the PROXY protocol (in user space). Over UDP a session's first datagram tells it, with `v2-every` (UDP) each one.",
		func(f *FullNAT) *string { return &f.ProxyProtocol }, "", "v1", "v2", "v2-every"),
	{"trusted_peers", "[]", "Proxies in front of the service, addresses and networks: \"10.0.0.0/8\". A PROXY header that they send, of either version, is passed on in that of proxy_protocol; what others send is data.",
		func(r *reader, n node, f *FullNAT) {
			texts, ok := r.texts(n, "trusted_peers", func(s string) error { _, err := parsePeers(s); return err })
			if !ok {
				return
			}
			for _, s := range texts {
				p, _ := parsePeers(s)
				if slices.Contains(f.TrustedPeers, p) {
					r.problem(n.line, "", "trusted_peers: %s is there twice", p)
				}
				f.TrustedPeers = append(f.TrustedPeers, p)
			}
		},
		func(f *FullNAT) string { return quoteList(formatPeers(f.TrustedPeers)) }},
	spanKey("connect_timeout", `"3s"`, "Time for a connection to a real server. Given, it asks for user space.",
		func(f *FullNAT) *time.Duration { return &f.ConnectTimeout }, 10*time.Millisecond, time.Hour),
	intKey("retries", "2", "Other servers that are tried when a connection fails. Given, it asks for user space.",
		func(f *FullNAT) *int { return &f.Retries }, 0, 100),
	boolKey("notrack", "false", "In user space: keep connections out of connection tracking, which otherwise has two entries for each. Not with rules of a firewall that let packets of known connections pass: they know none of these.",
		func(f *FullNAT) *bool { return &f.Notrack }),
	intKey("max_connections", "0", "In user space: connections, or sessions of UDP, that the service may have at a time. Further connections wait until one ends, a further session ends one that is idle. 0: no limit.",
		func(f *FullNAT) *int { return &f.MaxConnections }, 0, 1<<31-1),
	boolKey("cut_removed", "false", "In user space: connections of a real server that is removed are reset; false: they go on to their end. The kernel has net.ipv4.vs.expire_nodest_conn for that.",
		func(f *FullNAT) *bool { return &f.CutRemoved }),
}

func duplicate(list []netip.Addr) (netip.Addr, bool) {
	seen := map[netip.Addr]bool{}
	for _, a := range list {
		if seen[a] {
			return a, true
		}
		seen[a] = true
	}
	return netip.Addr{}, false
}

// rawReal is a real server in the file's words.
type rawReal struct {
	at           endpoint
	ok           bool // at is set
	weight       int32
	forward      ipvs.Method
	upper, lower uint32
	encap        ipvs.Encap
	tunnelLine   int // 0: not given
	notify       Notify
}

var realKeys = []key[rawReal]{
	{"address", "", "Host name, address, or a range of addresses such as \"192.0.2.21-192.0.2.28:80\". Without a port it is the service's.",
		func(r *reader, n node, s *rawReal) { s.at, s.ok = r.realAddress(n) },
		func(s *rawReal) string { return quote(s.at.host) }},
	intKey("weight", "1", "Share of new connections; 0: none.",
		func(s *rawReal) *int32 { return &s.weight }, 0, 1<<31-1),
	methodKey("forward", `""`, "Method of this server. Empty: the service's.",
		func(s *rawReal) *ipvs.Method { return &s.forward }),
	intKey("upper", "0", "Connections at which the server gets no more. 0: no limit.",
		func(s *rawReal) *uint32 { return &s.upper }, 0, 1<<31-1),
	intKey("lower", "0", "Connections below which it gets some again.",
		func(s *rawReal) *uint32 { return &s.lower }, 0, 1<<31-1),
	{"tunnel", `{ type = "ipip" }`, "Encapsulation of `tun`: type `ipip`, `gre` or `gue`, the last with a port; csum `none`, `csum` or `remcsum`.",
		func(r *reader, n node, s *rawReal) {
			s.tunnelLine = n.line
			if t, ok := typed[*table](r, n, "tunnel", `a table, like { type = "gre" }`); ok {
				s.encap = r.tunnel(t)
			}
		},
		func(s *rawReal) string { return tunnelText(s.encap) }},
	notifyKey("notify_up", "Program and arguments, run when checks bring the server up that counted as down (keepalived's `notify_up`); as that of the service.",
		func(s *rawReal) *[]string { return &s.notify.Up }),
	notifyKey("notify_down", "The same when checks find a server down that counted as up (keepalived's `notify_down`).",
		func(s *rawReal) *[]string { return &s.notify.Down }),
}

// notifyKey is a program that is run by what happens, by its path.
func notifyKey[T any](name, doc string, at func(*T) *[]string) key[T] {
	k := listKey(name, "[]", doc, at, nil)
	read := k.set
	k.set = func(r *reader, n node, t *T) {
		before := len(r.problems)
		if read(r, n, t); len(r.problems) == before && len(*at(t)) > 0 {
			r.program(n.line, name, *at(t))
		}
	}
	return k
}

// noMethod stands for a server's own method when it has none.
const noMethod = ^ipvs.Method(0)

func methodKey[T any](name, zero, doc string, at func(*T) *ipvs.Method) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			s, ok := typed[string](r, n, name, "a forwarding method in quotes")
			if ok && s == "" && zero == `""` {
				*at(t) = noMethod
			} else if ok {
				m, err := parseMethod(s)
				if err != nil {
					r.problem(n.line, hintOf(err), "%s: %v", name, err)
					return
				}
				*at(t) = m
			}
		},
		func(t *T) string {
			if *at(t) == noMethod {
				return `""`
			}
			return quote(at(t).String())
		},
	}
}

func parseMethod(s string) (m ipvs.Method, err error) {
	if strings.Trim(s, "0123456789") != "" && m.UnmarshalText([]byte(s)) == nil && m != ipvs.Local && m != ipvs.Bypass {
		return m, nil
	}
	list := []string{"nat", "dr", "tun", "fullnat"}
	return 0, hinted{fmt.Errorf("unknown forwarding method %s (one of %s)", quote(clip(s)), strings.Join(list, ", ")), didYouMean(s, append(list, "masq", "gate", "ipip"))}
}

// rawTunnel is the encapsulation in the file's words.
type rawTunnel struct {
	typ, csum string
	port      uint16
}

var tunnelKeys = []key[rawTunnel]{
	choiceKey("type", `"ipip"`, "`ipip`, `gre` or `gue`.", func(t *rawTunnel) *string { return &t.typ }, "ipip", "gre", "gue"),
	intKey("port", "0", "UDP port of `gue`.", func(t *rawTunnel) *uint16 { return &t.port }, 0, 65535),
	choiceKey("csum", `"none"`, "`none`, `csum`, or `remcsum` with `gue`.", func(t *rawTunnel) *string { return &t.csum }, "none", "csum", "remcsum"),
}

func (r *reader) tunnel(t *table) (e ipvs.Encap) {
	var raw rawTunnel
	setDefaults(tunnelKeys, &raw)
	fill(r, "tunnel", tunnelKeys, t, &raw)
	_ = e.Type.UnmarshalText([]byte(raw.typ)) // choiceKey has seen to it
	_ = e.Flags.UnmarshalText([]byte(raw.csum))
	e.Port = raw.port
	switch {
	case e.Type == ipvs.GUE && e.Port == 0:
		r.problem(t.line, "", "tunnel: gue needs a port")
	case e.Type != ipvs.GUE && e.Port != 0:
		r.problem(t.line, "", "tunnel: %s has no port", e.Type)
	case e.Type == ipvs.IPIP && e.Flags != 0:
		r.problem(t.line, "", "tunnel: ipip has no checksum of its own")
	case e.Type == ipvs.GRE && e.Flags == ipvs.RemCsum:
		r.problem(t.line, "", "tunnel: remcsum goes with gue only")
	}
	return e
}

func tunnelText(e ipvs.Encap) string {
	s := "{ type = " + quote(e.Type.String())
	if e.Port != 0 {
		s += fmt.Sprintf(", port = %d", e.Port)
	}
	if e.Flags != 0 {
		s += ", csum = " + quote(e.Flags.String())
	}
	return s + " }"
}

// kernelName holds to what may be the name of a module: ip_vs_NAME.
func kernelName(s string) error {
	if len(s) > 15 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return errors.New("bad name " + quote(clip(s)) + " (small letters and digits, at most 15)")
	}
	return nil
}

func flagWords() (out []string) {
	for _, f := range flagNames {
		out = append(out, f.word)
	}
	return out
}

// flagNames are the words for a scheduler's flags, those of a scheduler before
// the general ones.
var flagNames = []struct {
	word, scheduler string
	flag            ipvs.Flags
}{
	{"sh-fallback", "sh", ipvs.Sched1}, {"sh-port", "sh", ipvs.Sched2},
	{"mh-fallback", "mh", ipvs.Sched1}, {"mh-port", "mh", ipvs.Sched2},
	{"flag-1", "", ipvs.Sched1}, {"flag-2", "", ipvs.Sched2}, {"flag-3", "", ipvs.Sched3},
}

func (r *reader) virtualAddress(n node) (out netip.AddrPort) {
	s, ok := typed[string](r, n, "address", `an address and port in quotes, like "192.0.2.10:80"`)
	if !ok {
		return out
	}
	e, err := parseEndpoint(s)
	switch {
	case err != nil:
	case e.host != "":
		err = hinted{fmt.Errorf("%s is no address", quote(clip(s))), "a service has an address; only real servers may have names"}
	case e.first != e.last:
		err = hinted{fmt.Errorf("%s is a range", quote(clip(s))), "a service has one address"}
	case !e.hasPort:
		err = hinted{fmt.Errorf("%s has no port", quote(clip(s))), "write " + quote(netip.AddrPortFrom(e.first, 80).String()) + ", or port 0 with persistent for every port"}
	default:
		err = checkUnicast(e.first)
	}
	if err != nil {
		r.problem(n.line, hintOf(err), "address: %v", err)
		return out
	}
	return netip.AddrPortFrom(e.first, e.port)
}

func (r *reader) realAddress(n node) (e endpoint, ok bool) {
	s, ok := typed[string](r, n, "address", `an address in quotes, like "192.0.2.21:80"`)
	if !ok {
		return e, false
	}
	e, err := parseEndpoint(s)
	if err == nil && e.host == "" {
		if err = checkUnicast(e.first); err == nil {
			err = checkUnicast(e.last)
		}
	}
	if err != nil {
		r.problem(n.line, hintOf(err), "address: %v", err)
		return e, false
	}
	return e, true
}
