package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

type demo struct {
	out     io.Writer
	network netip.Prefix
	port    uint16
	phase   time.Duration

	engine  *fullnat.Engine
	runner  *healthcheck.Runner
	service fullnat.Service
	servers []*server
	down    map[string]bool // by address, as the checks say
}

// host is an address of the demo's network.
func (d *demo) host(n byte) netip.Addr {
	b := d.network.Addr().As4()
	b[3] = n
	return netip.AddrFrom4(b)
}

func (d *demo) run(ctx context.Context) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.stop()
	steps := []func(context.Context) error{d.all, d.kill, d.without, d.revive, d.all}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.printTable()
	return nil
}

// start brings up the servers, the engine and the checks.
func (d *demo) start(ctx context.Context) error {
	d.down = map[string]bool{}
	d.service.ServiceKey = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(d.host(10), d.port))
	d.service.Scheduler = "rr"
	d.service.Options.Locals = []netip.Addr{d.host(101), d.host(102), d.host(103), d.host(104)}
	for i := range byte(3) {
		s := &server{addr: netip.AddrPortFrom(d.host(11+i), d.port), name: fmt.Sprintf("server %d", i+1)}
		d.servers = append(d.servers, s)
		d.service.Destinations = append(d.service.Destinations, ipvs.Destination{Addr: s.addr, Method: ipvs.FullNAT, Weight: 1})
		if err := s.start(ctx); err != nil {
			d.stop()
			return err
		}
	}
	var err error
	if d.engine, err = fullnat.New(fullnat.Config{}); err == nil {
		err = d.engine.Apply([]fullnat.Service{d.service})
	}
	if err != nil {
		d.stop()
		return err
	}
	d.runner = healthcheck.NewRunner(healthcheck.Options{Spread: time.Millisecond})
	for _, s := range d.servers {
		err = errors.Join(err, d.runner.Add(s.subject()))
	}
	go d.runner.Run(ctx)
	fmt.Fprintf(d.out, "Virtual address http://%s/, by full NAT in this process, from the local addresses %s to %s.\n", d.service.Addr, d.host(101), d.host(104))
	fmt.Fprintf(d.out, "Three HTTP servers behind it, each a process of its own: %s, %s, %s.\n\n", d.servers[0].addr, d.servers[1].addr, d.servers[2].addr)
	return err
}

func (d *demo) stop() {
	if d.engine != nil {
		d.engine.Close()
	}
	for _, s := range d.servers {
		s.kill()
	}
}

// all expects every server to have its share.
func (d *demo) all(ctx context.Context) error {
	return d.traffic(ctx, "All three are up", d.servers)
}

// kill takes one server away under load. Its clients do not notice: a connect
// that is refused goes to another server.
func (d *demo) kill(ctx context.Context) error {
	victim := d.servers[1]
	fmt.Fprintf(d.out, "\nkill -9 %d (%s)\n", victim.pid(), victim.name)
	victim.kill()
	if err := d.traffic(ctx, "It is gone, the checks find out", nil); err != nil {
		return err
	}
	return d.await(ctx, victim, healthcheck.Down)
}

func (d *demo) without(ctx context.Context) error {
	return d.traffic(ctx, "Weight 0: the other two have its clients", []*server{d.servers[0], d.servers[2]})
}

func (d *demo) revive(ctx context.Context) error {
	fmt.Fprintf(d.out, "\nStarting %s again.\n", d.servers[1].name)
	if err := d.servers[1].start(ctx); err != nil {
		return err
	}
	return d.await(ctx, d.servers[1], healthcheck.Up)
}

// await has weights follow the checks until one has the verdict.
func (d *demo) await(ctx context.Context, s *server, want healthcheck.Verdict) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		st, ok := d.runner.Status(s.id()) // before what is obeyed, or its weight may not be set yet
		if err := d.obey(); err != nil {
			return err
		}
		if ok && st.Verdict == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: no verdict %v: %w", s.name, want, ctx.Err())
		case <-d.runner.Changed():
		}
	}
}

// obey sets the weights by the verdicts that are new.
func (d *demo) obey() error {
	for _, st := range d.runner.Take() {
		if st.Verdict == healthcheck.Unknown {
			continue
		}
		down := st.Verdict == healthcheck.Down
		if was, known := d.down[st.ID]; known && was == down || !known && !down {
			d.down[st.ID] = down
			continue
		}
		d.down[st.ID] = down
		fmt.Fprintf(d.out, "    check of %s: %v %s\n", st.ID, st.Verdict, st.Reason)
	}
	want := d.service
	want.Destinations = append([]ipvs.Destination(nil), d.service.Destinations...)
	for i := range want.Destinations {
		if d.down[want.Destinations[i].Addr.String()] {
			want.Destinations[i].Weight = 0
		}
	}
	return d.engine.Apply([]fullnat.Service{want})
}

func (d *demo) printTable() {
	fmt.Fprintf(d.out, "\n%-28s %8s %10s %10s %10s %9s\n", "Service, servers", "Weight", "Conns", "InBytes", "OutBytes", "Failures")
	for _, s := range d.engine.Services() {
		fmt.Fprintf(d.out, "%-28s %8s %10d %10d %10d\n", s.ServiceKey.String()+" "+s.Scheduler, "", s.Stats.Conns, s.Stats.InBytes, s.Stats.OutBytes)
		for _, r := range s.Destinations {
			fmt.Fprintf(d.out, "  -> %-23s %8d %10d %10d %10d %9d\n", r.Addr, r.Weight, r.Stats.Conns, r.Stats.InBytes, r.Stats.OutBytes, r.Failures)
		}
		for _, l := range s.Locals {
			fmt.Fprintf(d.out, "  LIP %-22s %8s %10d\n", l.Addr, "", l.Total)
		}
	}
}
