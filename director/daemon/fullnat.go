package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/sourcenat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// Services of full NAT that commands make (goipvs -A --fullnat, -a -b, -P) are
// the director's as those of the file are. Requests run between two of its
// steps, so that nobody reloads the file meanwhile.

// claimed: the file has services that commands made from now on.
func (d *Daemon) claimed(taken []ipvs.ServiceKey) {
	for _, k := range taken {
		d.log.Warn("the file names a service of full NAT that a command made: it is the file's from now on", "event", "fullnat_claimed", "vs", k.String())
	}
	var gone []ipvs.Change
	for _, k := range taken {
		gone = append(gone, ipvs.Change{Op: ipvs.DeleteService, Service: ipvs.Service{ServiceKey: k}})
	}
	d.commanded.put(gone)
}

func (d *Daemon) fullNATList(_ context.Context, _ control.Peer, args []byte) (any, error) {
	var a ipvsadm.ListArgs
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	var services []ipvs.ServiceInfo
	dests := make(map[ipvs.ServiceKey][]ipvs.DestinationInfo)
	var inKernel []snat.Service
	stopped := d.dir.Look(func(b director.Beside) {
		l := lister{daemon: d}
		for _, f := range b.FullNAT(func(k ipvs.ServiceKey) bool { return a.Service == "" || a.Service == k.String() }) {
			info, ds := l.list(&f)
			services = append(services, info)
			dests[info.ServiceKey] = ds
			if f.Runs == ipvs.PlaneKernel {
				inKernel = append(inKernel, f.SourceNAT)
			}
		}
	})
	if stopped != nil {
		return nil, stopped
	}
	if a.Locals {
		if err := d.countLocals(services, inKernel); err != nil {
			return nil, err
		}
	}
	return json.RawMessage(ipvsadm.AppendServices(nil, services, dests, d.proxy.Timeouts())), nil
}

// lister reads what services of full NAT are now, wherever they run.
type lister struct {
	daemon *Daemon
	kernel map[ipvs.ServiceKey]ipvs.ServiceInfo // nil: not listed yet
}

func (l *lister) list(f *director.FullNAT) (ipvs.ServiceInfo, []ipvs.DestinationInfo) {
	k := f.Service.ServiceKey
	info := ipvs.ServiceInfo{Service: f.Service, Managed: f.Managed, Runs: f.Runs}
	var live ipvs.ServiceInfo
	var have []ipvs.DestinationInfo
	switch f.Runs {
	case ipvs.PlaneUserspace:
		live, _ = l.daemon.proxy.Service(k)
		have, _ = l.daemon.proxy.Destinations(k, nil)
	case ipvs.PlaneKernel:
		live = l.inKernel(k)
		have, _ = l.daemon.o.Kernel.Destinations(k, nil) // what is missing there is listed as wanted
	}
	info.Stats = live.Stats
	counts := make(map[netip.Addr]ipvs.LocalInfo)
	for _, c := range l.daemon.proxy.Locals(k) {
		counts[c.Addr] = c
	}
	for _, a := range f.Locals {
		c := counts[a]
		c.Addr = a
		info.Locals = append(info.Locals, c)
	}
	return info, listed(f.Destinations, have)
}

func (l *lister) inKernel(k ipvs.ServiceKey) ipvs.ServiceInfo {
	if l.kernel == nil {
		l.kernel = make(map[ipvs.ServiceKey]ipvs.ServiceInfo)
		all, _ := l.daemon.o.Kernel.Services() // without them there are no counters
		for _, s := range all {
			l.kernel[s.ServiceKey] = s
		}
	}
	return l.kernel[k]
}

// listed are the real servers that the plane has, in its order, and then those
// that are wanted and that it does not have. To IPVS full NAT is NAT.
func listed(want []ipvs.Destination, have []ipvs.DestinationInfo) []ipvs.DestinationInfo {
	there := make(map[netip.AddrPort]bool, len(have))
	out := make([]ipvs.DestinationInfo, 0, len(want))
	for _, h := range have {
		if h.Method == ipvs.NAT {
			h.Method = ipvs.FullNAT
		}
		there[h.Addr] = true
		out = append(out, h)
	}
	for _, w := range want {
		if !there[w.Addr] {
			out = append(out, ipvs.DestinationInfo{Destination: w})
		}
	}
	return out
}

func (d *Daemon) fullNATConnections(_ context.Context, _ control.Peer, args []byte) (any, error) {
	if err := arguments(args, &struct{}{}); err != nil {
		return nil, err
	}
	conns := d.proxy.Connections()
	all := make([]ipvsadm.Connection, len(conns))
	for i, c := range conns {
		all[i] = ipvsadm.Connection{Connection: c.Connection, Local: c.Local}
	}
	var inKernel []snat.Service
	if err := d.dir.Look(func(b director.Beside) {
		for _, f := range b.FullNAT(func(ipvs.ServiceKey) bool { return true }) {
			if f.Runs == ipvs.PlaneKernel {
				inKernel = append(inKernel, f.SourceNAT)
			}
		}
	}); err != nil {
		return nil, err
	}
	kernel, err := d.tracked(inKernel)
	return json.RawMessage(ipvsadm.AppendConnections(nil, all, kernel)), err
}

// tracked are the connections of services of the kernel's plane that have a
// local address, as far as connection tracking knows them.
func (d *Daemon) tracked(services []snat.Service) (all []ipvsadm.Connection, err error) {
	if len(services) == 0 {
		return nil, nil
	}
	err = d.o.SourceNAT.Connections(services, func(c *sourcenat.Connection) {
		row := ipvsadm.Connection{Local: c.Local}
		row.Protocol, row.Client, row.Virtual, row.Destination = c.Protocol, c.Client, c.Virtual, c.Server
		all = append(all, row)
	})
	return all, err
}

// countLocals counts the connections of the kernel's plane that have a local
// address now.
func (d *Daemon) countLocals(services []ipvs.ServiceInfo, inKernel []snat.Service) error {
	type local struct {
		service ipvs.ServiceKey
		addr    netip.Addr
	}
	counts := make(map[local]uint64)
	if len(inKernel) == 0 {
		return nil
	}
	err := d.o.SourceNAT.Connections(inKernel, func(c *sourcenat.Connection) {
		if !c.Closed {
			counts[local{c.Service, c.Local.Addr()}]++
		}
	})
	for i := range services {
		if s := &services[i]; s.Runs == ipvs.PlaneKernel {
			for j := range s.Locals {
				s.Locals[j].Conns = counts[local{s.ServiceKey, s.Locals[j].Addr}]
			}
		}
	}
	return err
}

func (d *Daemon) fullNATRules(_ context.Context, _ control.Peer, args []byte) (any, error) {
	var a ipvsadm.RulesArgs
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	commands, err := parseRules(a.Rules)
	if err != nil {
		return nil, control.Errorf(control.BadArgs, "%v", err)
	}
	var result ipvsadm.RulesResult
	var warnings []string
	stopped := d.dir.Beside(func(b director.Beside) {
		e := edit{daemon: d, beside: b, commands: commands, next: make(map[ipvs.ServiceKey]*ipvs.Entry), rules: make(map[ipvs.ServiceKey][]int)}
		result.Refused, err = e.run()
		warnings = b.Ending()
	})
	if err = errors.Join(stopped, err); err != nil || len(result.Refused) > 0 {
		return result, err
	}
	if err = d.commanded.flush(); err == nil && commands[0].Action == ipvsadm.ActionSet {
		err = d.saver.flush()
	}
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("done, but it will not survive a restart of goipvsd: %v", err))
	}
	result.Warning = strings.Join(warnings, "; ")
	return result, nil
}

// parseRules reads the command lines of a request.
func parseRules(rules []string) (all []ipvsadm.Command, err error) {
	if len(rules) == 0 {
		return nil, errors.New("no rules")
	}
	for i, rule := range rules {
		c, err := ipvsadm.Parse(strings.Fields(rule), nil)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
		switch c.Action {
		case ipvsadm.ActionFlush, ipvsadm.ActionZero, ipvsadm.ActionSet:
			if len(rules) > 1 {
				return nil, fmt.Errorf("rule %d: %s goes alone", i, rule)
			}
		default:
			if !c.Rule() {
				return nil, fmt.Errorf("rule %d: %s changes no table", i, rule)
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// edit is one request.
type edit struct {
	daemon   *Daemon
	beside   director.Beside
	commands []ipvsadm.Command

	next  map[ipvs.ServiceKey]*ipvs.Entry // as they shall be; nil: gone
	made  []ipvs.Change                   // what makes them so
	rules map[ipvs.ServiceKey][]int       // which commands concern a service
	moved []ipvs.Service                  // of the kernel that become full NAT's
	table map[ipvs.ServiceKey]ipvs.ServiceInfo
}

func (e *edit) run() ([]ipvsadm.Refusal, error) {
	c := &e.commands[0]
	switch c.Action {
	case ipvsadm.ActionFlush:
		for _, m := range e.beside.ManualTable() {
			k := m.Service.ServiceKey
			e.next[k], e.rules[k] = nil, []int{0}
			e.made = append(e.made, ipvs.Change{Op: ipvs.DeleteService, Service: m.Service})
		}
		return e.make()
	case ipvsadm.ActionSet:
		e.daemon.proxy.SetTimeouts(c.Timeouts)
		e.daemon.saver.change(func(st *state) { st.Timeouts = c.Timeouts.Or(st.Timeouts) })
		return nil, nil
	case ipvsadm.ActionZero:
		if err := e.daemon.proxy.Zero(c.Change.Service.ServiceKey); err != nil {
			return []ipvsadm.Refusal{refusal(0, err)}, nil
		}
		return nil, nil
	}
	var no []ipvsadm.Refusal
	for i := range e.commands {
		ch := &e.commands[i].Change
		if e.beside.Named(ch.Service.ServiceKey) {
			no = append(no, ipvsadm.Refusal{Rule: i, Message: "goipvsd's file names this service", Hint: "change the file, then goipvs reload; goipvs drain and weight change a real server for a while"})
		} else if err := e.change(i, ch); err != nil {
			no = append(no, refusal(i, err))
		}
	}
	if len(no) > 0 {
		// What else is wrong is told, too, so that one more request will do.
		return no, nil
	}
	return e.make()
}

// change makes one change of what the services shall be.
func (e *edit) change(rule int, c *ipvs.Change) error {
	k := c.Service.ServiceKey
	now, known := e.next[k]
	if !known {
		if m := e.beside.Manual(k); m != nil {
			now = copyOf(m)
		}
	}
	var err error
	had := now != nil
	switch {
	case now != nil:
	case c.Op == ipvs.AddService:
		err = e.free(k)
	case c.Op == ipvs.AddDestination && c.Destination.Method == ipvs.FullNAT, c.Op == ipvs.AddLocal, c.Op == ipvs.UpdateService && c.Service.FullNAT:
		now, err = e.move(k)
	}
	if err != nil {
		return err
	}
	if now != nil && !had {
		e.made = append(e.made, ipvs.Change{Op: ipvs.AddService, Service: now.Service})
	}
	if now, err = changed(now, c); err == nil {
		e.made = append(e.made, *c)
		e.next[k], e.rules[k] = now, append(e.rules[k], rule)
	}
	return err
}

var (
	errMethod  = errors.New("the service is full NAT's, and so are its real servers: -b")
	errNoLocal = fmt.Errorf("%w: it has no such local address", ipvs.ErrNoDestination)
)

// changed makes one change as the kernel does, with its errors. It may change the
// entry.
func changed(e *ipvs.Entry, c *ipvs.Change) (*ipvs.Entry, error) {
	switch {
	case c.Op == ipvs.AddService && e != nil:
		return nil, ipvs.ErrExists
	case c.Op == ipvs.AddService:
		e = &ipvs.Entry{Service: c.Service}
		e.Service.FullNAT = true
		return e, nil
	case e == nil:
		return nil, ipvs.ErrNoService
	case c.Op == ipvs.UpdateService:
		e.Service = c.Service
		e.Service.FullNAT = true
		return e, nil
	case c.Op == ipvs.DeleteService:
		return nil, nil
	case c.Op == ipvs.AddLocal, c.Op == ipvs.DeleteLocal:
		return e, changeLocal(e, c)
	}
	return e, changeDestination(e, c)
}

func changeLocal(e *ipvs.Entry, c *ipvs.Change) error {
	i := slices.Index(e.Locals, c.Local)
	switch {
	case c.Op == ipvs.AddLocal && i >= 0:
		return ipvs.ErrExists
	case c.Op == ipvs.AddLocal:
		e.Locals = append(e.Locals, c.Local)
	case i < 0:
		return errNoLocal
	default:
		e.Locals = slices.Delete(e.Locals, i, i+1)
	}
	return nil
}

func changeDestination(e *ipvs.Entry, c *ipvs.Change) error {
	d := &c.Destination
	i := slices.IndexFunc(e.Destinations, func(o ipvs.Destination) bool { return o.Addr == d.Addr })
	switch {
	case c.Op != ipvs.DeleteDestination && d.Method != ipvs.FullNAT:
		return errMethod
	case c.Op != ipvs.DeleteDestination && d.Lower > d.Upper: // ip_vs_add_dest in ip_vs_ctl.c
		return ipvs.ErrRange
	case c.Op == ipvs.AddDestination && i >= 0:
		return ipvs.ErrExists
	case c.Op == ipvs.AddDestination:
		e.Destinations = append(e.Destinations, *d)
	case i < 0:
		return ipvs.ErrNoDestination
	case c.Op == ipvs.UpdateDestination:
		e.Destinations[i] = *d
	case c.Op == ipvs.DeleteDestination:
		e.Destinations = slices.Delete(e.Destinations, i, i+1)
	}
	return nil
}

// make has the director make it so.
func (e *edit) make() (no []ipvsadm.Refusal, err error) {
	if len(e.next) == 0 {
		return nil, nil
	}
	for k, err := range e.beside.Put(e.next, e.daemon.machineFor(e.next)) {
		for _, rule := range e.rules[k] {
			no = append(no, refusal(rule, err))
		}
	}
	if len(no) > 0 {
		slices.SortFunc(no, func(a, b ipvsadm.Refusal) int { return a.Rule - b.Rule })
		return no, nil
	}
	e.daemon.commanded.put(e.made)
	return nil, e.leaveKernel()
}

func refusal(rule int, err error) ipvsadm.Refusal {
	return ipvsadm.Refusal{Rule: rule, Kind: ipvsadm.KindOf(err), Message: err.Error()}
}

// kernels looks a service up in the kernel.
func (e *edit) kernels(k ipvs.ServiceKey) (s ipvs.ServiceInfo, there bool, err error) {
	if e.table == nil {
		all, err := e.daemon.o.Kernel.Services()
		if err != nil {
			return s, false, err
		}
		e.table = make(map[ipvs.ServiceKey]ipvs.ServiceInfo, len(all))
		for _, s := range all {
			e.table[s.ServiceKey] = s
		}
	}
	s, there = e.table[k]
	return s, there, nil
}

// free reports whether the kernel has no such service, which would get the
// packets before we do.
func (e *edit) free(k ipvs.ServiceKey) error {
	_, there, err := e.kernels(k)
	if err == nil && there {
		err = fmt.Errorf("%w in the kernel", ipvs.ErrExists)
	}
	return err
}

// move is a service of the kernel that has no real servers, as one of full NAT.
func (e *edit) move(k ipvs.ServiceKey) (*ipvs.Entry, error) {
	s, there, err := e.kernels(k)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, ipvs.ErrNoService
	}
	dests, err := e.daemon.o.Kernel.Destinations(k, nil)
	if err != nil {
		return nil, err
	}
	if len(dests) > 0 {
		return nil, fmt.Errorf("the service is the kernel's and has real servers by %s; one that has none becomes full NAT's", dests[0].Method)
	}
	e.moved = append(e.moved, s.Service)
	return &ipvs.Entry{Service: s.Service}, nil
}

// leaveKernel takes out of the kernel what was moved to user space.
func (e *edit) leaveKernel() error {
	var errs []error
	for _, s := range e.moved {
		if e.beside.Runs(s.ServiceKey) == ipvs.PlaneKernel {
			continue
		}
		err := e.daemon.o.Kernel.Apply(func(yield func(ipvs.Change) bool) {
			yield(ipvs.Change{Op: ipvs.DeleteService, Service: s})
		})
		if !errors.Is(err, ipvs.ErrNoService) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
