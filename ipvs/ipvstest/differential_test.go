package ipvstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
)

// TestKernelDifferential does the same random things to the fake and to the
// kernel: every answer and every listing must be the same, to the letter.
func TestKernelDifferential(t *testing.T) {
	lab.Need(t)
	addSyncInterface(t)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			differ(t, fresh(t, dial), newConforming(), seed, 800)
		})
	}
}

// TestDifferential is its own check: the same kernel twice cannot differ, and
// with a fault the difference must show.
func TestDifferential(t *testing.T) {
	differ(t, newConforming(), newConforming(), 1, 2000)
	broken := newConforming()
	broken.Inject(Fault{Op: "add destination", After: 20, Done: true, Err: errors.New("broken")})
	if d := difference(newConforming(), broken, 1, 2000); d == "" {
		t.Error("a fault was not noticed")
	}
}

func differ(t *testing.T, kernel, fake Client, seed uint64, steps int) {
	t.Helper()
	if d := difference(kernel, fake, seed, steps); d != "" {
		t.Error(d)
	}
}

// difference runs steps on both until they differ, and tells how.
func difference(kernel, fake Client, seed uint64, steps int) string {
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	var history []string
	for range steps {
		s := g.step()
		history = append(history, s.text)
		k, f := outcome(kernel, s), outcome(fake, s)
		if k != f {
			return fmt.Sprintf("after\n\t%s\n(-kernel +fake):\n%s",
				strings.Join(history[max(0, len(history)-20):], "\n\t"), cmp.Diff(k, f))
		}
	}
	return ""
}

// outcome is the answer to a step and all that can be listed after it.
func outcome(c Client, s step) string {
	answer := fmt.Sprintln("answer:", describe(s.do(c)))
	table, err := Text(c)
	timeouts, err2 := c.Timeouts()
	daemons, err3 := c.Daemons()
	if err := errors.Join(err, err2, err3); err != nil {
		return answer + err.Error()
	}
	return fmt.Sprint(answer, table, timeouts, daemons)
}

func describe(err error) string {
	var batch *ipvs.BatchError
	if errors.As(err, &batch) {
		var all []string
		for _, f := range batch.Failed {
			all = append(all, describe(f))
		}
		return strings.Join(all, "; ")
	}
	var o *ipvs.OpError
	if errors.As(err, &o) {
		return fmt.Sprintf("%d: %v %q", o.Index, err, kinds(err))
	}
	return fmt.Sprint(err)
}

type step struct {
	text string
	do   func(Client) error
}

// generator makes steps in a world so small that they meet each other.
type generator struct{ *rand.Rand }

func one[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) step() step {
	switch n := g.IntN(100); {
	case n < 70:
		c := g.change()
		return step{fmt.Sprintf("%s %+v", c, c), func(k Client) error { return k.Do(c) }}
	case n < 88:
		batch := make([]ipvs.Change, 1+g.IntN(30))
		var text []string
		for i := range batch {
			batch[i] = g.change()
			text = append(text, batch[i].String())
		}
		return step{"apply " + strings.Join(text, ", "), func(k Client) error { return k.Apply(slices.Values(batch)) }}
	case n < 90:
		return step{"flush", Client.Flush}
	case n < 92:
		return step{"zero", Client.Zero}
	case n < 94:
		key := g.service().ServiceKey
		return step{"zero " + key.String(), func(k Client) error { return k.ZeroService(key) }}
	case n < 96:
		second := func() time.Duration { return time.Duration(one(g, 0, 0, 1, 60, 2147483, 21474837)) * time.Second }
		to := ipvs.Timeouts{TCP: second(), TCPFin: second(), UDP: second()}
		return step{fmt.Sprint("set timeouts ", to), func(k Client) error { return k.SetTimeouts(to) }}
	case n < 98:
		d := g.daemon()
		return step{fmt.Sprintf("start %+v", d), func(k Client) error { return k.StartDaemon(d) }}
	}
	d := ipvs.Daemon{State: one(g, ipvs.Master, ipvs.Backup, 3)}
	return step{fmt.Sprintf("stop %+v", d), func(k Client) error { return k.StopDaemon(d) }}
}

func (g generator) daemon() ipvs.Daemon {
	return ipvs.Daemon{
		State:     one(g, ipvs.Master, ipvs.Backup, 3),
		Interface: one(g, "lo", syncInterface, syncInterface, "nosuch"),
		SyncID:    one[uint32](g, 0, 1, 255, 256),
		MaxLen:    one[uint16](g, 0, 0, 1, 1400, 65535),
		Group:     one(g, netip.Addr{}, netip.MustParseAddr("239.0.0.1"), netip.MustParseAddr("ff02::81"), netip.MustParseAddr("10.0.0.1")),
		Port:      one[uint16](g, 0, 0, 9000),
		TTL:       one[uint8](g, 0, 0, 2),
	}
}

func (g generator) change() ipvs.Change {
	op := one(g, ipvs.AddService, ipvs.AddService, ipvs.UpdateService, ipvs.DeleteService, ipvs.AddDestination, ipvs.AddDestination,
		ipvs.AddDestination, ipvs.AddDestination, ipvs.UpdateDestination, ipvs.UpdateDestination, ipvs.DeleteDestination)
	return ipvs.Change{Op: op, Service: g.service(), Destination: g.destination()}
}

func (g generator) service() ipvs.Service {
	s := one(g, tcp("192.0.2.1:80"), udp("192.0.2.1:80"), tcp("192.0.2.1:0"), vs(ipvs.SCTP, "192.0.2.1:80"), tcp("[2001:db8::1]:80"),
		mark(1, ipvs.IPv4), mark(1, ipvs.IPv6), mark(1<<31, ipvs.IPv4), tcp("[::ffff:192.0.2.1]:80"))
	s.Scheduler = one(g, "rr", "wlc", "sh", "mh", "none")
	s.Flags = one(g, 0, 0, ipvs.Persistent, ipvs.OnePacket, ipvs.SchedFlags, 0x80)
	s.Timeout = time.Duration(one(g, 0, 60, 4294967)) * time.Second
	s.Netmask = one(g, ipvs.Netmask{}, ipvs.Netmask4([4]byte{255, 255, 255, 0}), ipvs.Netmask4([4]byte{255, 255, 255, 192}))
	s.PE = one(g, "", "", "", "sip")
	if g.IntN(400) == 0 { // rarely: looking for a module takes its time
		s.Scheduler = "nosuch"
	}
	return s
}

func (g generator) destination() ipvs.Destination {
	d := rs(one(g, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:0", "10.0.0.4:8080", "127.0.0.1:80", "224.0.0.1:80", "0.0.0.0:80",
		"[2001:db8::10]:80", "[2001:db8::11]:80", "[2001:db8::12]:0", "[fe80::1]:80", "[::1]:80"))
	d.Method = one(g, ipvs.NAT, ipvs.NAT, ipvs.DirectRoute, ipvs.Tunnel, ipvs.Tunnel, ipvs.Tunnel, ipvs.Local, ipvs.FullNAT)
	d.Weight = one[int32](g, 0, 1, 1, 1, 100, 70000, 1<<31-1, -1)
	d.Upper = one[uint32](g, 0, 0, 5, 1<<31-1, 1<<32-1)
	d.Lower = one[uint32](g, 0, 0, 0, 5, 6)
	if d.Method == ipvs.Tunnel {
		d.Encap = one(g, ipvs.Encap{}, ipvs.Encap{}, ipvs.Encap{Type: ipvs.GUE, Port: 6080, Flags: ipvs.Csum},
			ipvs.Encap{Type: ipvs.GUE}, ipvs.Encap{Type: ipvs.GRE, Flags: ipvs.Csum})
	}
	return d
}
