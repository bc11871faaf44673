package config

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goipvs/goipvs/ipvs"
)

// Print is the canonical text of a configuration: only what differs from the
// defaults, in the order of the documentation. Included files have become part
// of it. Secrets are in it as they are, unless they come from a file.
func Print(c *Config) []byte {
	p := &printer{}
	def := Default()
	own := *c
	own.Include = nil
	rows(p, "", daemonKeys, &own, def)
	rows(p, "", policyKeys, &c.Policy, &def.Policy)
	section(p, "\n[check]\n", timingKeys, &c.Check, &def.Check)
	section(p, "\n[alert]\n", alertKeys, &c.Alert, &def.Alert)
	section(p, "\n[timeouts]\n", timeoutKeys, &c.Timeouts, &def.Timeouts)
	if len(c.Sync) > 0 {
		s, none := rawSyncOf(c.Sync), rawSync{}
		section(p, "\n[sync]\n", syncKeys, &s, &none)
	}
	for i := range c.Virtuals {
		p.virtual(&c.Virtuals[i], c)
	}
	if p.Len() == 0 { // an empty file is taken for a lost one
		return []byte("# Nothing but defaults, and no services.\n")
	}
	return bytes.TrimPrefix(p.Bytes(), []byte("\n"))
}

type printer struct{ bytes.Buffer }

func (p *printer) line(indent string, words ...string) {
	p.WriteString(indent + strings.Join(words, "") + "\n")
}

// rows prints the keys whose value is not that of base.
func rows[T any](p *printer, indent string, keys []key[T], t, base *T) (n int) {
	for _, k := range keys {
		if text := k.text(t); text != k.text(base) {
			p.line(indent, k.name, " = ", text)
			n++
		}
	}
	return n
}

// section prints a table, if there is anything in it.
func section[T any](p *printer, head string, keys []key[T], t, base *T) {
	sub := &printer{}
	if rows(sub, "", keys, t, base) > 0 {
		p.WriteString(head)
		p.Write(sub.Bytes())
	}
}

func (p *printer) virtual(v *Virtual, c *Config) {
	raw, base := rawOf(v), plainVirtual(c)
	base.scheduler = "" // the two that every reader wants to see
	base.forward = noMethod
	p.WriteString("\n")
	for line := range strings.Lines(v.Comment) {
		p.line("", "# ", strings.Map(visible, strings.TrimSpace(line)))
	}
	p.line("", "[[virtual]]")
	rows(p, "", virtualKeys, &raw, &base)
	if len(v.Fallback) > 0 {
		p.line("", "fallback = [", strings.Join(each(v.Fallback, func(s *Real) string { return v.fallbackText(s) }), ", "), "]")
	}
	if v.Forward == ipvs.FullNAT {
		none := NewFullNAT()
		if v.FullNAT.Asked.ConnectTimeout { // printed also when it is the default
			none.ConnectTimeout = 0
		}
		if v.FullNAT.Asked.Retries {
			none.Retries = -1
		}
		sub := &printer{}
		if rows(sub, "  ", fullNATKeys, &v.FullNAT, &none) > 0 {
			p.line("", "\n  [virtual.fullnat]")
			p.Write(sub.Bytes())
		}
	}
	head := "\n  [virtual.check]"
	if len(v.Checks) > 1 {
		head = "\n  [[virtual.check]]"
	}
	for i := range v.Checks {
		p.line("", head)
		p.check("  ", &v.Checks[i], c)
	}
	for i := range v.Reals {
		p.real(&v.Reals[i], v)
	}
}

// visible drops what a comment cannot hold.
func visible(r rune) rune {
	if control(r) || r == utf8.RuneError {
		return -1
	}
	return r
}

func each[T any](list []T, f func(*T) string) (out []string) {
	for i := range list {
		out = append(out, f(&list[i]))
	}
	return out
}

// rawOf is the service in the file's words.
func rawOf(v *Virtual) rawVirtual {
	s := &v.Service
	raw := rawVirtual{
		address: s.Addr, fwmark: s.FWMark, family: "ipv4", protocol: "tcp", scheduler: s.Scheduler, engine: s.PE,
		onePacket: s.Flags&ipvs.OnePacket != 0, forward: v.Forward, vipInterface: v.VIPInterface,
		quorum: v.Quorum, hysteresis: v.Hysteresis, fallbackCmd: v.FallbackCommand, notify: v.Notify, policy: v.Policy,
	}
	if v.Name != DefaultName(s.ServiceKey) {
		raw.name = v.Name
	}
	if s.FWMark != 0 {
		raw.family = s.Family.String()
	} else {
		raw.protocol = s.Protocol.String()
	}
	for _, f := range flagNames {
		covered := slices.ContainsFunc(raw.flags, func(w string) bool { return flagOf(w) == f.flag })
		if s.Flags&f.flag != 0 && !covered && (f.scheduler == "" || f.scheduler == s.Scheduler) {
			raw.flags = append(raw.flags, f.word)
		}
	}
	if s.Flags&ipvs.Persistent != 0 {
		raw.persistent = s.Timeout
		if n, ok := s.Netmask.Prefix(s.AF()); ok && !s.Netmask.IsDefault() {
			raw.prefix = n
		}
	}
	return raw
}

func flagOf(word string) ipvs.Flags {
	for _, f := range flagNames {
		if f.word == word {
			return f.flag
		}
	}
	return 0
}

func (v *Virtual) fallbackText(s *Real) string {
	if s.Method == v.Forward && s.Encap == (ipvs.Encap{}) {
		return quote(s.Target())
	}
	t := "{ address = " + quote(s.Target())
	if s.Method != v.Forward {
		t += ", forward = " + quote(s.Method.String())
	}
	if s.Encap != (ipvs.Encap{}) {
		t += ", tunnel = " + tunnelText(s.Encap)
	}
	return t + " }"
}

func (p *printer) check(indent string, ch *Check, c *Config) {
	base := NewCheck(ch.Type, c.Check)
	p.line(indent, "type = ", quote(ch.Type))
	rows(p, indent, checkKeys, secretsApart(ch), &base)
}

// secretsApart is the check without the secrets that files hold.
func secretsApart(ch *Check) *Check {
	out := *ch
	if out.PasswordFile != "" {
		out.Password = ""
	}
	if out.SecretFile != "" {
		out.Secret = ""
	}
	return &out
}

func (p *printer) real(s *Real, v *Virtual) {
	raw := rawReal{at: endpoint{host: s.Target()}, weight: s.Weight, forward: s.Method, upper: s.Upper, lower: s.Lower, encap: s.Encap, notify: s.Notify}
	base := rawReal{weight: 1, forward: v.Forward}
	p.line("", "\n  [[virtual.real]]")
	rows(p, "  ", realKeys, &raw, &base)
	var list []string
	changed := false
	for i := range s.Checks {
		text := overrideText(&s.Checks[i], &v.Checks[i])
		changed = changed || text != "{}"
		list = append(list, text)
	}
	switch {
	case !changed:
	case len(list) == 1:
		p.line("  ", "check = ", list[0])
	default:
		p.line("  ", "check = [", strings.Join(list, ", "), "]")
	}
}

// overrideText is what turns base into ch.
func overrideText(ch, base *Check) string {
	var parts []string
	from := *base
	if ch.Type != base.Type {
		parts = append(parts, "type = "+quote(ch.Type))
		from = NewCheck(ch.Type, base.Timing)
	}
	a, b := secretsApart(ch), secretsApart(&from)
	for _, k := range checkKeys[1:] {
		if text := k.text(a); text != k.text(b) {
			parts = append(parts, k.name+" = "+text)
		}
	}
	if len(parts) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}
