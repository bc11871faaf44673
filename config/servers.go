package config

import (
	"net/netip"
	"sync"

	"github.com/goipvs/goipvs/ipvs"
)

const maxReals = 100_000

// reals reads [[virtual.real]].
func (r *reader) reals(t *table, v *Virtual, c *Config) {
	n, ok := t.at["real"]
	if !ok {
		return
	}
	list, ok := n.v.([]node)
	if !ok {
		r.problem(n.line, "write [[virtual.real]], in two brackets", "real: want an array of tables, found %s", kind(n.v))
		return
	}
	seen := make(map[string]int, len(list))
	v.Reals = make([]Real, 0, len(list))
	for _, e := range list {
		if rt, ok := typed[*table](r, e, "real", "a table"); ok {
			from := len(v.Reals)
			v.Reals = r.real(v.Reals, rt, "[[virtual.real]]", v, c)
			r.once(seen, v.Reals[from:])
		}
	}
	if len(v.Reals) > maxReals {
		r.problem(v.Pos.Line, "", "%d real servers are too many (at most %d)", len(v.Reals), maxReals)
	}
}

// once reports servers that are there already.
func (r *reader) once(seen map[string]int, list []Real) {
	for i := range list {
		s := &list[i]
		name := s.Target()
		if line, twice := seen[name]; twice {
			r.problem(s.Pos.Line, "", "the real server %s is there twice: also at line %d", name, line)
			continue
		}
		seen[name] = s.Pos.Line
	}
}

// plainReal is a real server of which nothing is said.
var plainReal = sync.OnceValue(func() rawReal {
	raw := rawReal{forward: noMethod}
	setDefaults(realKeys[1:], &raw)
	raw.tunnelLine = 0
	return raw
})

// real appends a real server, or the several of a range.
func (r *reader) real(out []Real, t *table, where string, v *Virtual, c *Config) []Real {
	raw := plainReal()
	fill(r, where, realKeys, t, &raw, "check")
	if _, has := t.at["address"]; !has {
		r.problem(t.line, `like address = "192.0.2.21:80"`, "a real server without address")
	}
	if !raw.ok {
		return out
	}
	s := Real{Host: raw.at.host, Port: raw.at.port, Weight: raw.weight, Method: raw.forward,
		Upper: raw.upper, Lower: raw.lower, Encap: raw.encap, Notify: raw.notify, Pos: Position{r.file, t.line}}
	if s.Method == noMethod {
		s.Method = v.Forward
	}
	if !raw.at.hasPort {
		s.Port = v.Port()
	}
	r.realRules(t, &raw, &s, v)
	if c != nil {
		s.Checks = r.overrides(t, v, &s, c)
	}
	if s.Host != "" {
		r.sources(t.line, v, &s)
		return append(out, s)
	}
	for i, a := range raw.at.all() {
		if s.Addr = a; i == 0 { // the others are of its family
			r.sources(t.line, v, &s)
		}
		out = append(out, s)
	}
	return out
}

// realRules are what IPVS asks of a destination.
func (r *reader) realRules(t *table, raw *rawReal, s *Real, v *Virtual) {
	if !v.known() {
		return
	}
	at := func(key string) int { return t.at[key].line }
	if (s.Method == ipvs.FullNAT) != (v.Forward == ipvs.FullNAT) {
		r.problem(at("forward"), "full NAT is for a service as a whole", "forward: %s in a service of %s", s.Method, v.Forward)
	}
	if s.Upper < s.Lower {
		r.problem(max(at("lower"), at("upper")), "upper = 0 is no limit, and lower must not be above upper", "lower: %d is above upper, %d", s.Lower, s.Upper)
	}
	if raw.tunnelLine != 0 && s.Method != ipvs.Tunnel {
		r.problem(raw.tunnelLine, `forward = "tun"?`, "tunnel: the server is reached by %s", s.Method)
	}
	// Of a firewall mark's servers the port is no more than part of their names, and
	// where checks go: ipvsadm leaves it as it is, and we take over what was made so.
	if (s.Method == ipvs.DirectRoute || s.Method == ipvs.Tunnel) && s.Port != v.Port() && v.Service.FWMark == 0 {
		want := "the service's port is " + netip.AddrPortFrom(v.Service.Addr.Addr(), v.Port()).String()
		if v.Port() == 0 {
			want = "the server needs no port here"
		}
		r.problem(at("address"), want+`; forward = "nat" can change it, and a check has a port of its own`, "address: %s does not change the port, %d", s.Method, s.Port)
	}
	if s.Host == "" && s.Method != ipvs.Tunnel && s.Method != ipvs.FullNAT && raw.at.first.Is4() != (v.Family() == ipvs.IPv4) {
		r.problem(at("address"), "only tun and fullnat cross from IPv4 to IPv6", "address: %s in a service of %s", raw.at.first, v.Family())
	}
}

// fallback reads fallback: texts, or tables with a method of their own.
func (r *reader) fallback(t *table, v *Virtual) {
	n, ok := t.at["fallback"]
	if !ok {
		return
	}
	list, ok := typed[[]node](r, n, "fallback", `an array, like ["127.0.0.1:80"]`)
	if !ok {
		return
	}
	seen := map[string]int{}
	for _, e := range list {
		ft, ok := e.v.(*table)
		if !ok {
			ft = &table{file: r.file, line: e.line, at: map[string]node{"address": e}}
		}
		for _, k := range []string{"weight", "upper", "lower", "check", "notify_up", "notify_down"} {
			if x, has := ft.at[k]; has {
				r.problem(x.line, "a fallback has weight 1, no check, and nothing to notify of", "fallback: key %s", quote(k))
			}
		}
		from := len(v.Fallback)
		v.Fallback = r.real(v.Fallback, ft, "fallback", v, nil)
		r.once(seen, v.Fallback[from:])
	}
}
