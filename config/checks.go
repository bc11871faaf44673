package config

import (
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

const maxChecks = 16

// checks reads [virtual.check] or [[virtual.check]].
func (r *reader) checks(t *table, v *Virtual, c *Config) {
	n, ok := t.at["check"]
	if !ok {
		v.Checks = []Check{defaultCheck(v, c)}
		return
	}
	list, ok := tables(n)
	if !ok || len(list) > maxChecks {
		r.problem(n.line, "", "check: want a table, [virtual.check], or up to %d of them, [[virtual.check]]", maxChecks)
		v.Checks = []Check{defaultCheck(v, c)}
		return
	}
	for _, ct := range list {
		typ, ok := ct.at["type"].v.(string)
		if _, has := ct.at["type"]; !has {
			r.problem(ct.line, `like type = "connect"`, "check: needs a type")
		} else if !ok || checkType(typ) != nil {
			typ = ""
		}
		ch := NewCheck(typ, c.Check)
		r.check(ct, "[virtual.check]", &ch, v, c)
		v.Checks = append(v.Checks, ch)
	}
}

// tables are the tables of a value that is one or an array of some.
func tables(n node) (out []*table, ok bool) {
	if t, ok := n.v.(*table); ok {
		return []*table{t}, true
	}
	list, _ := n.v.([]node)
	for _, e := range list {
		t, ok := e.v.(*table)
		if !ok {
			return nil, false
		}
		out = append(out, t)
	}
	return out, len(out) > 0
}

// defaultCheck is the check of a service that names none: as ldirectord's
// connect, which pings where there is nothing to connect to.
func defaultCheck(v *Virtual, c *Config) Check {
	if v.Service.Protocol == ipvs.TCP && v.Port() != 0 {
		return NewCheck("connect", c.Check)
	}
	return NewCheck("ping", c.Check)
}

// overrides are the checks of one real server.
func (r *reader) overrides(t *table, v *Virtual, s *Real, c *Config) []Check {
	n, ok := t.at["check"]
	if !ok {
		r.targets(t.line, v.Checks, s)
		return slices.Clip(v.Checks) // the same ones, of which a file may have thousands
	}
	out := slices.Clone(v.Checks)
	list, ok := tables(n)
	switch {
	case !ok:
		r.problem(n.line, "", `check: want a table, like { request = "/other" }`)
		return out
	case len(list) != len(out):
		r.problem(n.line, "an array with a table for each check of the service, in their order; {} changes nothing", "check: %d tables for the %d checks of the service", len(list), len(out))
		return out
	}
	for i, ct := range list {
		if typ, ok := ct.at["type"].v.(string); ok && typ != out[i].Type && checkType(typ) == nil {
			out[i] = NewCheck(typ, out[i].Timing)
		}
		r.check(ct, "check", &out[i], v, c)
	}
	r.targets(n.line, out, s)
	return out
}

// targets reports checks that have no port to go to.
func (r *reader) targets(line int, list []Check, s *Real) {
	for i := range list {
		spec := specOf(list[i].Type)
		if needsPort(&spec) && list[i].TargetPort(s.Port) == 0 {
			r.problem(line, "give the check a port", "check: %s has no port to go to: %s has none", spec.Name, s.Target())
		}
	}
}

// sources reports checks that go to another family of addresses than their source
// is of. What a name will turn out to have is found by the check.
func (r *reader) sources(line int, v *Virtual, s *Real) {
	for i := range s.Checks {
		ch := &s.Checks[i]
		if !ch.Source.IsValid() || ch.Address.IsValid() || slices.Contains(words("on off external"), ch.Type) { // checkRules compares addresses
			continue
		}
		to, is4 := s.Target(), s.Addr.Is4()
		switch vip := v.Service.Addr.Addr(); {
		case ch.Via == ViaPath && vip.IsValid():
			to, is4 = vip.String(), vip.Is4()
		case s.Host != "" && v.hostOf(s).Family == 0:
			continue
		case s.Host != "":
			is4 = v.Family() == ipvs.IPv4
		}
		if is4 != ch.Source.Is4() {
			r.problem(line, "a source of the same family, or none", "check: source %s cannot reach %s", ch.Source, to)
		}
	}
}

func needsPort(s *CheckType) bool { return s.Name == "connect" || s.Name == "tcp" || s.Name == "udp" }

// check reads the keys of one check into ch, which holds what they override.
func (r *reader) check(t *table, where string, ch *Check, v *Virtual, c *Config) {
	before := len(r.problems)
	login, secret := ch.PasswordFile, ch.SecretFile
	for _, p := range [][2]string{{"password", "password_file"}, {"secret", "secret_file"}} {
		if a, b := t.at[p[0]], t.at[p[1]]; a.v != "" && a.line != 0 && b.v != "" && b.line != 0 {
			r.problem(max(a.line, b.line), "", "check: %s and %s exclude each other", p[0], p[1])
		}
	}
	fill(r, where, checkKeys, t, ch)
	if len(r.problems) > before || ch.Type == "" {
		return
	}
	spec := specOf(ch.Type)
	for _, name := range t.keys() {
		if !isCommon(name) && !spec.has(name) {
			r.problem(t.at[name].line, keyHint(&spec), "%s: does not go with a check of type %s", name, spec.Name)
		}
	}
	r.secrets(t, ch, login, secret, c)
	r.required(t, &spec, ch)
	rules := checkRules{r, t, &spec, ch}
	rules.all(v)
}

// secrets reads the files of secrets that are new in this table. What is given
// goes before what it overrides, in whichever of the two ways.
func (r *reader) secrets(t *table, ch *Check, login, secret string, c *Config) {
	given := func(key string) int { return t.at[key].line }
	switch {
	case ch.PasswordFile != "" && ch.PasswordFile != login:
		ch.Password = r.secretFile(given("password_file"), "password_file", ch.PasswordFile, c)
	case given("password") != 0 && given("password_file") == 0:
		ch.PasswordFile = ""
	}
	switch {
	case ch.SecretFile != "" && ch.SecretFile != secret:
		ch.Secret = r.secretFile(given("secret_file"), "secret_file", ch.SecretFile, c)
	case given("secret") != 0 && given("secret_file") == 0:
		ch.SecretFile = ""
	}
}

func keyHint(s *CheckType) string {
	if len(s.Keys) == 0 {
		return s.Name + " has no keys of its own"
	}
	return "it has " + strings.Join(s.Keys, ", ")
}

// required reports keys without which the type makes no sense.
func (r *reader) required(t *table, s *CheckType, ch *Check) {
	for _, need := range s.Required {
		found := false
		for k := range strings.SplitSeq(need, "|") {
			i := slices.IndexFunc(typeKeys, func(x key[Check]) bool { return x.name == k })
			text := typeKeys[i].text(ch)
			found = found || text != `""` && text != "[]"
		}
		if !found {
			r.problem(t.line, "", "check: type %s needs %s", s.Name, strings.ReplaceAll(need, "|", " or "))
		}
	}
}
