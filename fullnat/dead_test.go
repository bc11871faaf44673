package fullnat_test

import (
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// A machine that vanishes without a word is found: by keepalive when nothing is
// on the way to it, else by the idle timeout. Who is left hears a reset.
func TestKernelDeadPeers(t *testing.T) {
	for _, test := range []struct {
		name string
		kill func(d *doomed) (left net.Conn)
	}{
		{"client", func(d *doomed) net.Conn { d.unplug(d.Router, "client1"); return d.server }},
		{"server", func(d *doomed) net.Conn { d.unplug(d.Switch, "rs1"); return d.client }},
	} {
		t.Run("idle "+test.name, func(t *testing.T) {
			t.Cleanup(fullnat.ShortSilence())
			d := newDoomed(t)
			d.e.Skew(5 * time.Second) // older than the time to connect, from when on the server is watched
			hearEnd(t, test.kill(d), syscall.ECONNRESET)
			eventually(t, "the connection is forgotten", func() bool { return d.e.Conns() == 0 })
		})
		t.Run(test.name, func(t *testing.T) {
			d := newDoomed(t)
			d.e.SetTimeouts(ipvs.Timeouts{TCP: time.Minute})
			left := test.kill(d)
			if _, err := io.WriteString(left, "unheard"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the data is on its way", func() bool { return d.e.Backlog() > 0 })
			d.e.Skew(62 * time.Second) // the first look finds what was sent since
			if d.e.Conns() != 1 {
				t.Error("the connection ended when the data was new")
			}
			d.e.Skew(62 * time.Second) // the second that nothing has become of it
			d.e.Skew(6 * time.Second)  // and a reset waits for what the kernel has not sent
			hearEnd(t, left, syscall.ECONNRESET)
			eventually(t, "the connection is forgotten", func() bool { return d.e.Conns() == 0 })
		})
	}
}

// doomed is a connection of which one end is going to vanish.
type doomed struct {
	*topo.Net
	t              *testing.T
	e              *fullnat.Engine
	client, server net.Conn
}

func newDoomed(t *testing.T) *doomed {
	n := topotest.New(t, topo.Spec{Servers: 1, Router: true})
	d := &doomed{Net: n, t: t, e: startOn(t, n.Director, fullnat.Config{Loops: 1})}
	at := netip.AddrPortFrom(n.Servers[0].Addr4, 80)
	ln, err := n.Servers[0].Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := fullnat.Service{Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.VIP4, 80)), Scheduler: "rr"}}
	s.Destinations = []ipvs.Destination{{Addr: at, Method: ipvs.FullNAT, Weight: 1}}
	if err := n.Director.Do(func() error { return d.e.Apply([]fullnat.Service{s}) }); err != nil {
		t.Fatal(err)
	}
	c, err := n.Client.Dial(t.Context(), "tcp", netip.AddrPort{}, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	d.client = c.Conn
	if d.server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, end := range []net.Conn{d.client, d.server} {
		t.Cleanup(func() { end.Close() })
		if err := end.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	say(t, d.client, "hello")
	hear(t, d.server, "hello")
	return d
}

// unplug takes a machine's link away at the other end of it.
func (d *doomed) unplug(from *topo.Host, name string) {
	d.t.Helper()
	err := from.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(l)
	})
	if err != nil {
		d.t.Fatal(err)
	}
}
