package schedulers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// twin is a service of the kernel and the model of it, which are changed and
// asked together. The test ends at the first difference, with all steps.
type twin struct {
	*network
	t        *testing.T
	service  ipvs.Service
	protocol string // of the connections
	virtuals []netip.AddrPort
	model    *sched.Service
	start    time.Time
	conns    []*conn // that are open
	closed   []*conn // whose client port may be used again
	log      []string
	choices  int
}

// conn is an open connection and the model's part of it.
type conn struct {
	socket *topo.Conn
	bound  sched.Conn
	number int
	from   netip.AddrPort
	to     netip.AddrPort
}

func (n *network) twin(t *testing.T, k kind) *twin {
	t.Helper()
	w := &twin{network: n, t: t, service: k.service(n), protocol: k.protocol, start: time.Now()}
	w.virtuals = k.virtuals(t, n)
	n.serve(t, k.protocol, k.family, n.port)
	n.make(t, w.service)
	var err error
	w.model, err = sched.New(0, w.service, &sched.Settings{ExpireQuiescentTemplate: k.expireQuiescent, PromptThresholds: k.prompt})
	must(t, err)
	return w
}

func (w *twin) now() time.Duration { return time.Since(w.start) }

func (w *twin) note(format string, a ...any) { w.log = append(w.log, fmt.Sprintf(format, a...)) }

func (w *twin) fatal(format string, a ...any) {
	w.t.Helper()
	w.t.Fatalf("%s %s: %s\nafter\n%s", w.service.ServiceKey, w.service.Scheduler, fmt.Sprintf(format, a...), strings.Join(w.log, "\n"))
}

// server is a real server as a destination of the service.
func (w *twin) server(i int) ipvs.Destination {
	d := ipvs.Destination{Addr: netip.AddrPortFrom(addr(w.Servers[i], w.service.AF()), w.port)}
	if w.service.FWMark != 0 {
		d.Addr = netip.AddrPortFrom(d.Addr.Addr(), 0)
	}
	return d
}

func (w *twin) name(d *sched.Server) string {
	if d == nil {
		return refused
	}
	return w.nameOf(d.Destination().Addr.Addr())
}

func (w *twin) nameOf(a netip.Addr) string {
	i := slices.IndexFunc(w.Servers, func(h *topo.Host) bool { return h.Addr4 == a || h.Addr6 == a })
	return w.Servers[i].Name
}

// change changes a server in the kernel and in the model.
func (w *twin) change(op ipvs.Op, d ipvs.Destination) {
	w.t.Helper()
	w.note("%s %s %d %d %d", op, w.nameOf(d.Addr.Addr()), d.Weight, d.Upper, d.Lower)
	must(w.t, w.kernel.Do(ipvs.Change{Op: op, Service: w.service, Destination: d}))
	switch op {
	case ipvs.AddDestination:
		must(w.t, w.model.AddServer(w.now(), d))
	case ipvs.UpdateDestination:
		must(w.t, w.model.UpdateServer(w.now(), d))
	case ipvs.DeleteDestination:
		must(w.t, w.model.DeleteServer(w.now(), d.Addr))
	}
}

// edit changes the service.
func (w *twin) edit(s ipvs.Service) {
	w.t.Helper()
	w.note("service %s %#x", s.Scheduler, uint32(s.Flags))
	w.service = s
	must(w.t, w.kernel.Do(ipvs.Change{Op: ipvs.UpdateService, Service: s}))
	must(w.t, w.model.Update(w.now(), s))
}

// connect opens a connection and wants the kernel to choose as the model does.
func (w *twin) connect(from, to netip.AddrPort) {
	w.t.Helper()
	w.reconnect(&conn{from: from, to: to})
}

// reconnect opens a connection, in the place of an earlier one of the same
// client port if there was one: that counts until the choice is made.
func (w *twin) reconnect(c *conn) {
	w.t.Helper()
	w.choices++
	c.number = w.choices
	choice, ok := w.model.Choose(w.now(), c.from, c.to)
	var server string
	c.socket, server = w.open(w.t, w.protocol, c.from, c.to)
	w.note("connection %d %s > %s: %s", c.number, c.from, c.to, server)
	if want := w.name(choice.Server); server != want {
		w.fatal("the kernel chose %s, the model %s", server, want)
	}
	if !ok {
		w.model.End(w.now(), &c.bound)
		return
	}
	w.model.Bind(w.now(), &c.bound, choice, w.ipProtocol())
	w.model.SetState(&c.bound, sched.Established)
	w.conns = append(w.conns, c)
}

func (w *twin) ipProtocol() ipvs.Protocol { return protocols[w.protocol] }

var protocols = map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP}

// live are the open connections that can be used: a server that ended its half
// answers no more, and the kernel drops what goes to one that is not in the list.
func (w *twin) live() (list []*conn) {
	for _, c := range w.conns {
		if c.bound.Server().InService() && c.bound.State() == sched.Established {
			list = append(list, c)
		}
	}
	return list
}

// again asks on an open connection, which stays where it is.
func (w *twin) again(c *conn) {
	w.t.Helper()
	w.note("connection %d again", c.number)
	a, err := c.socket.Ask(w.t.Context())
	must(w.t, err)
	if want := w.name(c.bound.Server()); a.Server != want {
		w.fatal("it moved from %s to %s", want, a.Server)
	}
}

// finish has the server end its half of the connection.
func (w *twin) finish(c *conn) {
	w.t.Helper()
	w.note("connection %d: the server ends", c.number)
	must(w.t, finish(w.t.Context(), c.socket))
	w.model.SetState(&c.bound, sched.FinWait)
}

// close has the client close, which the server answers by closing.
func (w *twin) close(c *conn) {
	w.t.Helper()
	w.note("connection %d: closed", c.number)
	must(w.t, c.socket.Close())
	w.model.SetState(&c.bound, sched.TimeWait)
	w.conns = slices.DeleteFunc(w.conns, func(o *conn) bool { return o == c })
}

// closeFirst has the server close first, so that it keeps the TIME_WAIT and the
// client may use its port again.
func (w *twin) closeFirst(c *conn) {
	w.t.Helper()
	w.note("connection %d: closed by the server", c.number)
	_, err := c.socket.Say(w.t.Context(), "close")
	must(w.t, err)
	must(w.t, awaitEnd(c.socket))
	must(w.t, c.socket.Close())
	w.model.SetState(&c.bound, sched.TimeWait)
	w.conns = slices.DeleteFunc(w.conns, func(o *conn) bool { return o == c })
	w.closed = append(w.closed, c)
}

// reuse opens a connection from a port that had one.
func (w *twin) reuse() {
	w.t.Helper()
	if last := len(w.closed) - 1; last >= 0 {
		c := w.closed[last]
		w.closed = w.closed[:last]
		w.reconnect(c)
		w.settle() // the kernel ends the old one soon after
	}
}

// expire lets connections end in earnest, and leaves their sockets open.
func (w *twin) expire(list ...*conn) {
	w.t.Helper()
	var sockets []*topo.Conn
	for _, c := range list {
		w.note("connection %d: expired", c.number)
		sockets = append(sockets, c.socket)
		w.conns = slices.DeleteFunc(w.conns, func(o *conn) bool { return o == c })
	}
	w.network.expire(w.t, w.service, sockets...)
	for _, c := range list {
		w.model.End(w.now(), &c.bound)
	}
}

// settle waits until the kernel's table is the model's: servers in their order,
// weights and counters. Packets of a close may still be under way.
func (w *twin) settle() {
	w.t.Helper()
	w.model.Advance(w.now())
	var want []string
	for _, d := range w.model.Servers(nil) {
		want = append(want, w.row(d.Info()))
	}
	err := poll(func() string {
		list, err := w.kernel.Destinations(w.service.ServiceKey, nil)
		must(w.t, err)
		var got []string
		for _, d := range list {
			got = append(got, w.row(d))
		}
		return cmp.Diff(want, got)
	})
	if err != nil {
		w.fatal("server, weight, active, inactive, persistent: -model +kernel\n%v", err)
	}
}

func (w *twin) row(d ipvs.DestinationInfo) string {
	return fmt.Sprint(w.nameOf(d.Addr.Addr()), " ", d.Weight, d.Active, d.Inactive, d.Persistent)
}
