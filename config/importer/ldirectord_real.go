package importer

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// real converts real = HOST[->HOST][:PORT] METHOD [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N].
func (l *ldirectord) real(v *ldVirtual, d directive) {
	s := config.Real{Weight: 1, Checks: v.Checks, Pos: config.Position{File: l.file, Line: d.line}}
	words := realWords(d.value)
	if len(words) == 0 {
		l.lose(d.place, "%s: no address: the real server is left out", d.name)
		return
	}
	targets, err := l.targets(v, words[0])
	if err != nil {
		l.lose(d.place, "%s: %v: the real server is left out", d.name, err)
		return
	}
	if len(words) < 2 || !ldMethod(words[1], &s.Method) {
		l.lose(d.place, "%s: no gate, masq or ipip behind the address: the real server is left out", d.name)
		return
	}
	l.realRest(v, d, &s, words[2:])
	for _, t := range targets {
		one := s
		one.Host, one.Addr, one.Port = t.Host, t.Addr, t.Port
		v.place(&one)
		v.Reals = append(v.Reals, one)
	}
}

// place gives the server the port that ipvsadm gives it, which leaves those of a
// firewall mark as they are.
func (v *ldVirtual) place(s *config.Real) {
	if v.Service.FWMark == 0 {
		forcePort(s, v.Port())
	}
}

// realRest reads what stands behind the method.
func (l *ldirectord) realRest(v *ldVirtual, d directive, s *config.Real, words []string) {
	var texts []string
	weighed := false
	for _, w := range words {
		n, err := strconv.ParseUint(strings.TrimLeft(w, "lu:"), 10, 31)
		switch {
		case w[0] == '"':
			texts = append(texts, strings.Trim(w, `"`))
		case err == nil && strings.HasPrefix(w, "l:"):
			s.Lower = uint32(n)
		case err == nil && strings.HasPrefix(w, "u:"):
			s.Upper = uint32(n)
		case err == nil && w[0] >= '0' && w[0] <= '9' && !weighed:
			s.Weight, weighed = int32(n), true
		default:
			l.lose(d.place, "%s: %s is not understood", d.name, clip(w))
		}
	}
	if s.Lower > s.Upper {
		l.lose(d.place, "%s: l:%d is above u:%d: left out", d.name, s.Lower, s.Upper)
		s.Lower = 0
	}
	switch len(texts) {
	case 0:
	case 2:
		s.Checks = l.checksOf(v, directive{d.place, "request", l.ownRequest(v, d, texts[0])}, directive{d.place, "receive", texts[1]})
	default:
		l.lose(d.place, "%s: want two texts, \"request\", \"receive\"", d.name)
	}
}

// ownRequest is what a real server is asked. By a whole URL ldirectord asks the
// server in it instead, whose health is another one's.
func (l *ldirectord) ownRequest(v *ldVirtual, d directive, request string) string {
	service := l.serviceName(v)
	u, err := url.Parse(request)
	if service != "http" && service != "https" || err != nil || u.Scheme != service {
		return request
	}
	l.lose(d.place, "%s: ldirectord asks %s; here this server is asked for %s", d.name, clip(u.Host), clip(u.RequestURI()))
	return u.RequestURI()
}

// realWords splits at blanks and commas; texts in quotes stay whole, with one
// quote before them.
func realWords(s string) (out []string) {
	const apart = " \t\r\n,\u00a0\u3000"
	for s = strings.TrimLeft(s, apart); s != ""; s = strings.TrimLeft(s, apart) {
		if s[0] == '"' {
			text, rest, _ := strings.Cut(s[1:], `"`)
			out, s = append(out, `"`+text), rest
			continue
		}
		i := strings.IndexAny(s, apart+`"`)
		if i < 0 {
			i = len(s)
		}
		out, s = append(out, s[:i]), s[i:]
	}
	return out
}

func ldMethod(w string, m *ipvs.Method) bool {
	switch w {
	case "gate":
		*m = ipvs.DirectRoute
	case "masq":
		*m = ipvs.NAT
	case "ipip":
		*m = ipvs.Tunnel
	default:
		return false
	}
	return true
}

// targets are the servers that HOST[->HOST][:PORT] names.
func (l *ldirectord) targets(v *ldVirtual, s string) (out []config.Real, err error) {
	first, last, isRange := strings.Cut(s, "->")
	text := first
	if isRange {
		text = last
	}
	host, portText, hasPort := cutPort(text)
	port := v.Port()
	if hasPort {
		if port, err = l.port(portText, v.Service.Protocol); err != nil {
			return nil, err
		}
	} else if v.Service.FWMark != 0 {
		port = 0
	}
	if !isRange {
		if isName(host) {
			return []config.Real{{Host: strings.ToLower(host), Port: port}}, nil
		}
		a, err := l.host(host, v.Service.AF())
		if err != nil {
			return nil, err
		}
		return []config.Real{{Addr: a, Port: port}}, nil
	}
	list, err := l.rangeOf(first, host, v.Service.AF())
	for _, a := range list {
		out = append(out, config.Real{Addr: a, Port: port})
	}
	return out, err
}

// rangeOf is inclusive; names stand for their addresses.
func (l *ldirectord) rangeOf(first, last string, f ipvs.Family) ([]netip.Addr, error) {
	a, err := l.host(first, f)
	if err != nil {
		return nil, err
	}
	b, err := l.host(last, f)
	if err != nil {
		return nil, err
	}
	if !a.Is4() {
		return nil, fmt.Errorf("ranges are of IPv4")
	}
	return addresses(a, b)
}

// fallback converts the service's own fallback, or the one of all services.
func (l *ldirectord) fallback(v *ldVirtual) {
	name := "fallback"
	if v.Service.AF() == ipvs.IPv6 {
		name = "fallback6"
	} else if d := v.get("fallback6"); d.known() {
		l.lose(d.place, "fallback6: goes with virtual6")
	}
	d := v.get(name)
	if !d.known() {
		d = v.get("fallback")
	}
	if !d.known() {
		d = l.global.get(name)
	}
	words := realWords(d.value)
	if len(words) == 0 {
		return
	}
	s := config.Real{Weight: 1, Method: ipvs.DirectRoute, Pos: config.Position{File: l.file, Line: d.line}}
	targets, err := l.targets(v, words[0])
	switch {
	case err != nil || len(targets) != 1:
		l.lose(d.place, "%s: %v: left out", d.name, err)
		return
	case len(words) > 2 || len(words) == 2 && !ldMethod(words[1], &s.Method):
		l.lose(d.place, "%s: %s is not understood", d.name, clip(strings.Join(words[1:], " ")))
	}
	s.Host, s.Addr, s.Port = targets[0].Host, targets[0].Addr, targets[0].Port
	v.place(&s)
	v.Fallback = []config.Real{s}
}
