package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// Services of full NAT that commands make (goipvs -A --fullnat, -a -b, -P) are
// kept by the plane beside those of the file, which are the director's. Requests
// run between two of its steps, so that nobody reloads the file meanwhile.

// retryEvery is how often services are tried again that could not be served,
// their address being another's, say.
const retryEvery = 10 * time.Second

// bring takes over the services that commands made in the last run.
func (d *Daemon) bring(rules []string) {
	t, err := ipvsadm.Table(rules)
	if err != nil {
		d.log.Error("services that commands made are lost", "event", "fullnat_lost", "err", err)
		return
	}
	d.proxy.Bring(t)
}

// retry serves what commands made and could not be served so far.
func (d *Daemon) retry() {
	for k, reason := range d.proxy.Retry() {
		if reason != "" {
			d.log.Error("a service of full NAT that a command made is not served", "event", "fullnat_refused", "vs", k.String(), "reason", reason)
		} else {
			d.log.Info("a service of full NAT that a command made is served again", "event", "fullnat_served", "vs", k.String())
		}
	}
}

func (d *Daemon) retrier(ctx context.Context) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.retry()
		}
	}
}

// claim gives the file what it names.
func (d *Daemon) claim(named func(ipvs.ServiceKey) bool) {
	taken := d.proxy.Claim(named)
	for _, k := range taken {
		d.log.Warn("the file names a service of full NAT that a command made: it is the file's from now on", "event", "fullnat_claimed", "vs", k.String())
	}
	if len(taken) > 0 {
		d.keep()
	}
}

// keep has the services of commands written to the state file.
func (d *Daemon) keep() {
	rules := ipvsadm.Rules(d.proxy.Manual())
	d.saver.change(func(st *state) { st.Rules = rules })
}

func (d *Daemon) fullNATList(_ context.Context, _ control.Peer, args []byte) (any, error) {
	if err := arguments(args, &struct{}{}); err != nil {
		return nil, err
	}
	services, dests := d.proxy.List()
	return json.RawMessage(ipvsadm.AppendServices(nil, services, dests)), nil
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
	return json.RawMessage(ipvsadm.AppendConnections(nil, all)), nil
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
	stopped := d.dir.Beside(func(named func(ipvs.ServiceKey) bool) {
		e := edit{daemon: d, named: named, commands: commands}
		if result.Refused, err = e.run(); err == nil && len(result.Refused) == 0 {
			d.keep()
		}
	})
	if err = errors.Join(stopped, err); err != nil || len(result.Refused) > 0 {
		return result, err
	}
	if err := d.saver.flush(); err != nil {
		result.Warning = fmt.Sprintf("done, but it will not survive a restart of goipvsd: %v", err)
	}
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
	named    func(ipvs.ServiceKey) bool
	commands []ipvsadm.Command

	list  []ipvs.Change
	rule  []int              // which command a change comes from
	moved []ipvs.ServiceInfo // services of the kernel that become full NAT's
	table map[ipvs.ServiceKey]ipvs.ServiceInfo
}

func (e *edit) run() ([]ipvsadm.Refusal, error) {
	c := &e.commands[0]
	switch c.Action {
	case ipvsadm.ActionFlush:
		for _, m := range e.daemon.proxy.Manual() {
			e.add(0, ipvs.Change{Op: ipvs.DeleteService, Service: m.Service})
		}
		return e.make()
	case ipvsadm.ActionSet:
		e.daemon.proxy.SetTimeouts(c.Timeouts)
		return nil, nil
	case ipvsadm.ActionZero:
		if err := e.daemon.proxy.Zero(c.Change.Service.ServiceKey); err != nil {
			return []ipvsadm.Refusal{refusal(0, err)}, nil
		}
		return nil, nil
	}
	var no []ipvsadm.Refusal
	added := make(map[ipvs.ServiceKey]bool)
	for i := range e.commands {
		ch := e.commands[i].Change
		k := ch.Service.ServiceKey
		err := error(nil)
		switch {
		case e.named(k):
			no = append(no, ipvsadm.Refusal{Rule: i, Message: "goipvsd's file names this service", Hint: "change the file, then goipvs reload; goipvs drain and weight change a real server for a while"})
			continue
		case e.daemon.proxy.Has(k) || added[k]:
		case ch.Op == ipvs.AddService:
			err = e.free(k)
		case ch.Op == ipvs.AddDestination && ch.Destination.Method == ipvs.FullNAT, ch.Op == ipvs.AddLocal:
			err = e.move(i, k)
		case ch.Op == ipvs.UpdateService && ch.Service.FullNAT:
			err = e.move(i, k)
		}
		if err != nil {
			no = append(no, refusal(i, err))
			continue
		}
		added[k] = true
		e.add(i, ch)
	}
	if len(no) > 0 {
		// What else is wrong is told, too, so that one more request will do.
		return no, nil
	}
	return e.make()
}

func (e *edit) add(rule int, c ipvs.Change) {
	e.list, e.rule = append(e.list, c), append(e.rule, rule)
}

// make makes the changes.
func (e *edit) make() (no []ipvsadm.Refusal, err error) {
	if len(e.list) == 0 {
		return nil, nil
	}
	failed, err := e.daemon.proxy.Edit(e.list, e.leaveKernel)
	for _, f := range failed {
		no = append(no, refusal(e.rule[f.Index], f.Err))
	}
	return no, err
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

// move makes a service of the kernel that has no real servers one of full NAT.
func (e *edit) move(rule int, k ipvs.ServiceKey) error {
	s, there, err := e.kernels(k)
	if err != nil {
		return err
	}
	if !there {
		return ipvs.ErrNoService
	}
	dests, err := e.daemon.o.Kernel.Destinations(k, nil)
	if err != nil {
		return err
	}
	if len(dests) > 0 {
		return fmt.Errorf("the service is the kernel's and has real servers by %s; one that has none becomes full NAT's", dests[0].Method)
	}
	e.moved = append(e.moved, s)
	e.add(rule, ipvs.Change{Op: ipvs.AddService, Service: s.Service})
	return nil
}

// leaveKernel takes out of the kernel what was moved.
func (e *edit) leaveKernel() error {
	var errs []error
	for _, s := range e.moved {
		err := e.daemon.o.Kernel.Apply(func(yield func(ipvs.Change) bool) {
			yield(ipvs.Change{Op: ipvs.DeleteService, Service: s.Service})
		})
		if !errors.Is(err, ipvs.ErrNoService) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
