package director

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// Build is the Setup that a configuration asks for. The addresses of host names
// must be there already (config.Config.Bind); a server without one is not in
// the file as far as we are concerned. The error holds all that is wrong, each
// with file and line.
//
// It is that of a machine that can do everything or, with userspace, that has no
// IPVS; BuildFor knows more.
func Build(c *config.Config, userspace bool) (*Setup, error) {
	m := Machine{}
	if userspace {
		m.NoIPVS = ipvs.ErrNoIPVS
	}
	return BuildFor(c, m)
}

// BuildFor is Build for a machine. A service that the machine cannot serve is in
// the Setup, is refused and keeps no other from running.
func BuildFor(c *config.Config, m Machine) (*Setup, error) {
	b := builder{machine: m, setup: &Setup{Settings: settingsOf(c), NoIPVS: m.NoIPVS, NoSourceNAT: m.NoSourceNAT}, ready: make(map[healthcheck.Key]error), told: make(map[string]*repeated), marks: make(map[uint32]bool)}
	b.commandUser = c.CommandUser
	if err := (healthcheck.Confinement{User: c.CommandUser}).Trust("/"); err != nil {
		b.fail(config.Position{}, fmt.Errorf("command_user: %w", err))
		b.commandUser = ""
	}
	b.program(config.Position{}, "alert: command", c.Alert.Command)
	subjects := 0
	for i := range c.Virtuals {
		v := &c.Virtuals[i]
		b.marks[v.Service.FWMark] = true
		for j := range v.Reals {
			subjects += len(v.Reals[j].Checks)
		}
	}
	b.setup.Services = make([]VirtualService, 0, len(c.Virtuals))
	b.setup.Subjects = make([]Subject, 0, subjects)
	for i := range c.Virtuals {
		b.virtual(&c.Virtuals[i])
	}
	if len(b.wrong) > 0 {
		b.countRepeated()
		return nil, b.wrong
	}
	return b.setup, nil
}

func settingsOf(c *config.Config) Settings {
	return Settings{
		Reconcile: c.Reconcile, ReportDrift: c.OnDrift == config.DriftReport,
		MaxRemoval: c.MaxRemoval,
		HoldShare:  c.HoldOnMassFailure, HoldWindow: c.Check.Interval + c.Check.Timeout,
		Drain: c.Policy.Drain, OnStop: StopMode(c.OnStop),
		Timeouts: c.Timeouts, Sync: c.Sync,
	}
}

type builder struct {
	machine Machine
	setup   *Setup
	ready   map[healthcheck.Key]error // checks that were looked at, and what is wrong
	wrong   config.Errors
	told    map[string]*repeated
	marks   map[uint32]bool // of services, and of checks by the path of clients

	commandUser string
}

func (b *builder) fail(p config.Position, err error) {
	b.wrong = append(b.wrong, config.Problem{File: p.File, Line: p.Line, Text: err.Error()})
}

func (b *builder) virtual(c *config.Virtual) {
	v := VirtualService{
		Name: c.Name, Service: c.Service,
		FallbackCommand: c.FallbackCommand, Quorum: c.Quorum, Hysteresis: c.Hysteresis, Notify: c.Notify,
		Quiescent: c.Quiescent, Drain: c.Drain, SlowStart: c.SlowStart,
		UncheckedUp: c.Unchecked == config.UncheckedUp, VIPInterface: c.VIPInterface,
	}
	if err := b.choose(c, &v); err != nil {
		b.fail(c.Pos, fmt.Errorf("virtual %s: %w", c.Name, err))
		return
	}
	b.program(c.Pos, "virtual "+c.Name+": fallback_command", c.FallbackCommand)
	b.notify(c.Pos, "virtual "+c.Name, &c.Notify)
	for i := range c.Reals {
		if r := &c.Reals[i]; len(r.Notify.Up)+len(r.Notify.Down) > 0 {
			b.notify(r.Pos, "virtual "+c.Name+", real "+r.Target(), &r.Notify)
		}
	}
	for i := range c.Fallback {
		if c.Fallback[i].Addr.IsValid() {
			v.Fallback = append(v.Fallback, v.local(c.Fallback[i].Destination()))
		}
	}
	v.Servers = make([]RealServer, 0, len(c.Reals))
	for i := range c.Reals {
		if r := &c.Reals[i]; r.Addr.IsValid() {
			v.Servers = append(v.Servers, RealServer{Name: r.Target(), Destination: v.place(r.Destination()), Notify: r.Notify,
				Weighs: slices.ContainsFunc(r.Checks, func(c config.Check) bool { return c.DynamicWeight }), Window: window(r.Checks)})
			if !v.refused() {
				b.checks(c, r, v.Plane)
			}
		}
	}
	b.setup.Services = append(b.setup.Services, v)
}

// window is within what time the slowest of a server's checks finds a failure.
func window(checks []config.Check) (w time.Duration) {
	for i := range checks {
		w = max(w, checks[i].Interval+checks[i].Timeout)
	}
	return w
}

// program refuses an operator's program that others could replace. One that is
// not there is told when it is to be run.
func (b *builder) program(p config.Position, what string, argv []string) {
	if len(argv) == 0 {
		return
	}
	if err := (healthcheck.Confinement{User: b.commandUser}).Trust(argv[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.fail(p, fmt.Errorf("%s: %w", what, err))
	}
}

func (b *builder) notify(p config.Position, what string, n *config.Notify) {
	b.program(p, what+": notify_up", n.Up)
	b.program(p, what+": notify_down", n.Down)
}

// local has a fallback on the director itself delivered here: the kernel does
// not translate addresses to loopback ones (ip_vs_nat_xmit in ip_vs_xmit.c).
// Whoever listens there must listen on the virtual address and port.
func (v *VirtualService) local(d ipvs.Destination) ipvs.Destination {
	d = v.place(d)
	if v.Proxy == nil && d.Method == ipvs.NAT && d.Addr.Addr().IsLoopback() {
		d.Method = ipvs.DirectRoute
	}
	return d
}

// checks adds what is to be checked of one server.
func (b *builder) checks(c *config.Virtual, r *config.Real, in config.Plane) {
	id := ServerID{c.Service.ServiceKey, r.Destination().Addr}
	for i := range r.Checks {
		check := r.Checks[i]
		if in == config.PlaneUserspace {
			check.Via = "" // there is no other path than the director's own
		}
		s, err := b.subject(id, i, &check, r)
		if err != nil {
			b.failCheck(c, r, err)
			continue
		}
		b.setup.Subjects = append(b.setup.Subjects, s)
	}
}

// failCheck reports a check that cannot be made: once for all servers of a
// service that have it, and not a line for each address of a range.
func (b *builder) failCheck(c *config.Virtual, r *config.Real, err error) {
	what := c.Service.String() + " " + err.Error()
	if p, told := b.told[what]; told {
		p.more++
		return
	}
	b.told[what] = &repeated{at: len(b.wrong)}
	b.fail(r.Pos, fmt.Errorf("virtual %s, real %s: %w", c.Name, r.Target(), err))
}

// repeated is a problem, and how many more servers have it.
type repeated struct{ at, more int }

func (b *builder) countRepeated() {
	for _, p := range b.told {
		if p.more > 0 {
			b.wrong[p.at].Text += fmt.Sprintf(" (and %d more real servers)", p.more)
		}
	}
}

// subjectID names the check at a place of a server's list of checks.
func subjectID(id ServerID, i int) string {
	return id.Service.String() + "|" + id.Addr.String() + "|" + strconv.Itoa(i)
}

func (b *builder) subject(id ServerID, i int, c *config.Check, r *config.Real) (Subject, error) {
	name := r.Host
	if c.Address.IsValid() {
		name = "" // another machine, or another name of it
	}
	check := convert(c, id.Addr.Port(), name)
	if c.Type == "external" && c.User == "" {
		check.Confine.User = b.commandUser
	}
	check.Protocol = protocol(c, id.Service)
	key := check.Key()
	if _, known := b.ready[key]; !known {
		b.ready[key] = check.Validate()
	}
	if err := b.ready[key]; err != nil {
		return Subject{}, err
	}
	s := Subject{Server: id, Index: i}
	s.ID = subjectID(id, i)
	s.Check, s.Schedule = check, healthcheck.Schedule{
		Interval: c.Interval, Timeout: c.Timeout, FastInterval: c.FastInterval, Rise: c.Rise, Fall: c.Fall, Jitter: c.Jitter,
	}
	s.Target = b.target(id, c)
	if c.Via == config.ViaPath {
		s.Target.Mark, s.Target.Direct = b.path(id, r), r.Method != ipvs.NAT
	}
	return s, nil
}

// target is where the check goes.
func (b *builder) target(id ServerID, c *config.Check) healthcheck.Target {
	real := id.Addr
	if c.Address.IsValid() {
		real = netip.AddrPortFrom(c.Address, real.Port())
	}
	t := healthcheck.Target{Real: real, Virtual: id.Service.Addr, FWMark: id.Service.FWMark, Source: c.Source}
	if id.Service.FWMark == 0 {
		t.Protocol = strings.ToLower(id.Service.Protocol.String())
	}
	return t
}
