package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

type demo struct {
	goipvs   string
	requests int
	out      io.Writer

	net   *topo.Net
	vip   netip.AddrPort
	port  uint16 // the last that the client sent from
	asked int    // requests of this act
}

// acts are the README's blocks, and what the servers must be prepared for.
var acts = []struct {
	title, block string
	method       topo.Method
	port         uint16 // of the virtual service
}{
	{"NAT: the director rewrites the destination address, and the port", "nat", topo.NAT, 80},
	{"DR, direct routing: the packet reaches the server as the client sent it, answers bypass the director", "dr", topo.DR, 80},
	{"TUN: the same through an IP-in-IP tunnel", "tun", topo.IPIP, 8080},
}

func (d *demo) run(ctx context.Context, readme string) error {
	if err := d.build(); err != nil {
		return err
	}
	defer d.net.Close()
	for _, act := range acts {
		d.say("\n== %s\n", act.title)
		d.asked = 0
		d.vip = netip.AddrPortFrom(d.net.VIP4, act.port)
		if err := d.net.Prepare(act.method); err != nil {
			return err
		}
		for _, block := range []string{act.block, act.block + "-out"} {
			if err := d.scene(ctx, readme, block); err != nil {
				return fmt.Errorf("%s: %w", block, err)
			}
		}
		if _, err := d.typed("-C"); err != nil {
			return err
		}
	}
	d.say("\nEvery request was answered by the server that the table names, in the share of its weight.\n")
	return nil
}

// build makes the network and starts the servers, on the port that direct
// routing keeps and on the one that NAT translates to.
func (d *demo) build() (err error) {
	d.say("building client, router, director and three real servers\n")
	d.port = 20000
	if d.net, err = topo.New(topo.Spec{Servers: 3, Router: true}); err != nil {
		return err
	}
	for _, s := range d.net.Servers {
		for _, port := range []uint16{80, 8080} {
			if _, err := s.Serve("tcp", port); err != nil {
				return err
			}
		}
	}
	return nil
}

// scene types a block of the README, sends the requests and checks who
// answered.
func (d *demo) scene(ctx context.Context, readme, block string) error {
	commands, err := script(readme, block)
	if err != nil {
		return err
	}
	for _, c := range commands {
		if _, err := d.typed(c...); err != nil {
			return err
		}
	}
	want, err := d.table()
	if err != nil {
		return err
	}
	got, err := d.ask(ctx, want)
	d.asked += d.requests
	if err != nil {
		return err
	}
	if err := d.counted(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{{"-Ln"}, {"-Ln", "--stats"}} {
		if _, err := d.typed(args...); err != nil {
			return err
		}
	}
	d.show(want, got)
	return want.check(got, d.requests)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

// typed runs goipvs on the director and shows it as in a terminal.
func (d *demo) typed(args ...string) ([]byte, error) {
	d.say("director# goipvs %s\n", strings.Join(args, " "))
	out, err := d.quiet(args...)
	d.say("%s", out)
	return out, err
}

func (d *demo) quiet(args ...string) (out []byte, err error) {
	err = d.net.Director.Do(func() error {
		var stderr bytes.Buffer
		cmd := exec.Command(d.goipvs, args...)
		cmd.Stderr = &stderr
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("goipvs %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
		}
		return nil
	})
	return out, err
}

// server is a row of the table: what goipvs -L --json says of a real server.
type server struct {
	Address string
	Port    uint16
	Method  string
	Weight  int
	name    string
}

type servers []server

// service is what goipvs -L --json says of the one service there is.
type service struct {
	Stats        struct{ Conns int }
	Destinations servers
}

func (d *demo) service() (service, error) {
	out, err := d.quiet("-L", "-n", "--json")
	if err != nil {
		return service{}, err
	}
	var list struct{ Services []service }
	if err := json.Unmarshal(out, &list); err != nil {
		return service{}, fmt.Errorf("goipvs -L --json: %w", err)
	}
	if len(list.Services) != 1 {
		return service{}, fmt.Errorf("the table has %d services, not 1", len(list.Services))
	}
	return list.Services[0], nil
}

// counted waits until the kernel's counters have all requests of this act: it
// adds them up every two seconds.
func (d *demo) counted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		s, err := d.service()
		if err != nil || s.Stats.Conns == d.asked {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the kernel counts %d connections of %d", s.Stats.Conns, d.asked)
		}
	}
}

// table reads the service's real servers.
func (d *demo) table() (servers, error) {
	s, err := d.service()
	if err != nil {
		return nil, err
	}
	rows := s.Destinations
	for i := range rows {
		for _, h := range d.net.Servers {
			if h.Addr4.String() == rows[i].Address {
				rows[i].name = h.Name
			}
		}
	}
	return rows, nil
}
