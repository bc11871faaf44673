package importer

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// Options say where an import gets what its file does not hold. The zero value
// knows nothing but the file.
type Options struct {
	// Host gives the address of a name, where a name will not do: as the
	// virtual address, and at the ends of a range.
	Host func(name string, f ipvs.Family) (netip.Addr, error)
	// Port gives the number of a service such as "http".
	Port func(name string, p ipvs.Protocol) (uint16, error)
	// Read gives a file that keepalived's include names; nil: none is read.
	Read func(path string) ([]byte, error)
	// Glob gives the files that a pattern matches.
	Glob func(pattern string) ([]string, error)
	// ConfigID is keepalived's --config-id: which @ID lines count.
	ConfigID string
}

// Result is a converted configuration.
type Result struct {
	Config *config.Config
	// Lost are the lines that could not be carried over, in the order of the
	// file. Text says what becomes of them.
	Lost []config.Problem
}

// builder gathers services and what is lost on the way.
type builder struct {
	opt  Options
	cfg  *config.Config
	lost []config.Problem
	keys map[ipvs.ServiceKey]place
	name map[string]bool
}

// place is a line of a file.
type place struct {
	file string
	line int
}

func newBuilder(opt Options) *builder {
	b := &builder{opt: opt, cfg: config.Default(), keys: map[ipvs.ServiceKey]place{}, name: map[string]bool{}}
	b.cfg.HoldOnMassFailure = 1 // neither program holds anything
	return b
}

const maxLost = 10_000

func (b *builder) lose(p place, format string, args ...any) {
	if len(b.lost) < maxLost {
		text, _ := undefined(fmt.Sprintf(format, args...)) // whatever words of the file are in it
		b.lost = append(b.lost, config.Problem{File: p.file, Line: p.line, Text: strings.Map(printable, text)})
	}
}

// add takes a service, if there is not one of its address and if it is one
// that loads.
func (b *builder) add(v config.Virtual, p place) {
	if other, twice := b.keys[v.Service.ServiceKey]; twice {
		b.lose(p, "the service %s is there already, at line %d: left out", v.Service.ServiceKey, other.line)
		return
	}
	if v.Name = strings.Map(printable, v.Name); v.Name == "" || b.name[v.Name] {
		if v.Name != "" {
			b.lose(p, "there is a service %q already: this one is called by its address", v.Name)
		}
		v.Name = config.DefaultName(v.Service.ServiceKey)
	}
	if b.name[v.Name] { // of another service that was named like this address
		v.Name += " " + v.Service.ServiceKey.String()
	}
	v.Reals = b.once(v.Reals)
	v.Pos = config.Position{File: p.file, Line: p.line}
	if !b.fit(&v, p) {
		return
	}
	b.keys[v.Service.ServiceKey], b.name[v.Name] = p, true
	b.cfg.Virtuals = append(b.cfg.Virtuals, v)
}

// fit makes the service one that loads: servers that do not are left out, and if
// that is not enough so is the service.
func (b *builder) fit(v *config.Virtual, p place) bool {
	if b.loads(v) == nil {
		return true
	}
	b.simplify(v, p)
	reals, fallback := v.Reals, v.Fallback
	v.Reals, v.Fallback = nil, nil
	for _, e := range problems(b.loads(v)) {
		b.lose(p, "the service %s is left out: %s", v.Service.ServiceKey, e.Text)
		return false
	}
	v.Reals = b.fitting(reals, func(s config.Real) error { one := *v; one.Reals = []config.Real{s}; return b.loads(&one) })
	v.Fallback = b.fitting(fallback, func(s config.Real) error { one := *v; one.Fallback = []config.Real{s}; return b.loads(&one) })
	for _, e := range problems(b.loads(v)) {
		b.lose(p, "the service %s is left out: %s", v.Service.ServiceKey, e.Text)
		return false
	}
	return true
}

// simplify puts checks that only look whether a server is there in the place of
// those that do not load.
func (b *builder) simplify(v *config.Virtual, p place) {
	with := func(c config.Check) error {
		one := *v
		one.Reals, one.Fallback, one.Checks = nil, nil, []config.Check{c}
		return b.loads(&one)
	}
	simple := func(list []config.Check) {
		for i := range list {
			err := with(list[i])
			if err == nil {
				continue
			}
			typ, does := "connect", "only connects"
			if v.Service.Protocol == ipvs.UDP || list[i].Port == 0 && v.Port() == 0 {
				typ, does = "ping", "only pings"
			}
			c := config.NewCheck(typ, list[i].Timing)
			if c.Address, c.Source = list[i].Address, list[i].Source; typ == "connect" {
				c.Port = list[i].Port
			}
			if with(c) == nil {
				b.lose(p, "the check %s: it %s", problems(err)[0].Text, does)
				list[i] = c
			}
		}
	}
	v.Checks = slices.Clone(v.Checks)
	simple(v.Checks)
	for i := range v.Reals {
		s := &v.Reals[i]
		s.Checks = slices.Clone(s.Checks)
		simple(s.Checks)
	}
}

// fitting are the servers that load.
func (b *builder) fitting(list []config.Real, loads func(config.Real) error) (out []config.Real) {
	for _, s := range list {
		if err := loads(s); err != nil {
			b.lose(place{s.Pos.File, s.Pos.Line}, "the server %s is left out: %s", s.Target(), problems(err)[0].Text)
			continue
		}
		out = append(out, s)
	}
	return out
}

// loads tries a service by itself.
func (b *builder) loads(v *config.Virtual) error {
	alone := *b.cfg
	alone.Virtuals = []config.Virtual{*v}
	_, err := config.Parse("", config.Print(&alone), config.Options{NoSecrets: true})
	return err
}

func problems(err error) []config.Problem {
	var list config.Errors // Parse returns no other
	errors.As(err, &list)
	return list
}

// once leaves out real servers that are there already.
func (b *builder) once(list []config.Real) (out []config.Real) {
	seen := map[string]bool{}
	for _, s := range list {
		if seen[s.Target()] {
			b.lose(place{s.Pos.File, s.Pos.Line}, "the real server %s is there already: left out", s.Target())
			continue
		}
		seen[s.Target()] = true
		out = append(out, s)
	}
	return out
}

// daemon changes what is said of the daemon as a whole, if that still loads
// then. If it does not, the line is lost and nothing else.
func (b *builder) daemon(p place, change func(*config.Config)) {
	with := *b.cfg
	change(&with)
	if _, err := config.Parse("", config.Print(&with), config.Options{NoSecrets: true}); err != nil {
		b.lose(p, "left out: %s", problems(err)[0].Text)
		return
	}
	*b.cfg = with
}

// mailTo adds somebody who gets mail, by the local mail server if there is no
// other.
func (b *builder) mailTo(p place, mailbox string) {
	b.daemon(p, func(c *config.Config) {
		c.Alert.MailTo = append(slices.Clone(c.Alert.MailTo), mailbox)
		c.Alert.SMTP = cmp.Or(c.Alert.SMTP, "localhost:25")
	})
}

// result checks the whole once more; a configuration that does not load would
// be a fault of this package.
func (b *builder) result() Result {
	if _, err := config.Parse("", config.Print(b.cfg), config.Options{NoSecrets: true}); err != nil {
		for _, e := range problems(err) {
			b.lose(place{}, "what was made does not load, please report this: %s", e.Text)
		}
		b.cfg = config.Default()
	}
	slices.SortStableFunc(b.lost, func(a, b config.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	seen := map[config.Problem]bool{}
	b.lost = slices.DeleteFunc(b.lost, func(p config.Problem) bool {
		twice := seen[p]
		seen[p] = true
		return twice
	})
	return Result{b.cfg, b.lost}
}

func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\ufffd' {
		return -1
	}
	return r
}

// port reads a port, by number or by name.
func (b *builder) port(s string, p ipvs.Protocol) (uint16, error) {
	var n uint16
	if len(s) <= 5 && strings.Trim(s, "0123456789") == "" && s != "" {
		if _, err := fmt.Sscan(strings.TrimLeft(s[:len(s)-1], "0")+s[len(s)-1:], &n); err != nil {
			return 0, fmt.Errorf("bad port %q", s)
		}
		return n, nil
	}
	if b.opt.Port == nil || !isName(s) {
		return 0, fmt.Errorf("bad port %q", s)
	}
	if p == 0 {
		p = ipvs.TCP
	}
	return b.opt.Port(s, p)
}

// host reads an address, or finds that of a name.
func (b *builder) host(s string, f ipvs.Family) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a, nil
	}
	if b.opt.Host == nil || !isName(s) || f == 0 {
		return netip.Addr{}, fmt.Errorf("bad address %q", s)
	}
	return b.opt.Host(s, f)
}

// isName tells names from mistyped addresses: 192.168.1.1000, $VIP.
func isName(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	return s != "" && len(s) < 254 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-._") == "" &&
		strings.Trim(last, "0123456789") != "" && s[0] != '-' && s[0] != '.'
}

// sameLength gives every real server as many checks as the service has: those
// of the longest list are the service's, and a shorter one is filled up with
// checks that are always up.
func sameLength(v *config.Virtual) {
	var most []config.Check
	for i := range v.Reals {
		if len(v.Reals[i].Checks) > len(most) {
			most = v.Reals[i].Checks
		}
	}
	if len(most) == 0 {
		most = []config.Check{config.NewCheck("on", config.Default().Check)}
	}
	v.Checks = most
	for i := range v.Reals {
		s := &v.Reals[i]
		s.Checks = append([]config.Check(nil), s.Checks...)
		for len(s.Checks) < len(most) {
			s.Checks = append(s.Checks, config.NewCheck("on", most[len(s.Checks)].Timing))
		}
	}
}
