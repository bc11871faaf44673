package fullnat

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

// Connection is a connection as the kernel would list it, with the local
// address that it has towards the real server. The port of that is 0 when the
// connection is closed.
type Connection struct {
	procfs.Connection
	Local   netip.AddrPort
	Service ipvs.ServiceKey
}

// listStep is how many places a loop looks at between two rounds of traffic.
const listStep = 2048

// Connections lists all connections: those that are open, those that are closed
// and still count, UDP sessions, and persistence templates. It is no snapshot:
// traffic goes on meanwhile.
func (e *Engine) Connections() []Connection {
	e.listings.Add(1)
	defer e.listings.Add(-1)
	var all []Connection
	for _, l := range e.loops {
		for from, more := int32(0), true; more; from += listStep {
			done := make(chan bool, 1)
			if !e.tell(l, func(l *loop) { done <- l.list(from, &all) }) {
				return all
			}
			more = <-done
		}
		done := make(chan bool, 1)
		if !e.tell(l, func(l *loop) { l.listGhosts(&all); done <- true }) {
			return all
		}
		<-done
	}
	return e.listTemplates(all)
}

// tell has f run in a loop unless the engine is closed.
func (e *Engine) tell(l *loop, f func(*loop)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	l.do(f)
	return true
}

// list appends some of the loop's connections and tells whether there are more.
func (l *loop) list(from int32, to *[]Connection) bool {
	for i := from; i < min(from+listStep, l.conns.used); i++ {
		if c := l.conns.at(i); c.gen%2 == 1 && c.dst != nil {
			*to = append(*to, l.describe(c))
		}
	}
	return l.listFlows(from, to) || from+listStep < l.conns.used
}

func (l *loop) listFlows(from int32, to *[]Connection) bool {
	for i := from; i < min(from+listStep, l.flows.used); i++ {
		if f := l.flows.at(i); f.gen%2 == 1 && f.dst != nil {
			*to = append(*to, l.describeFlow(f))
		}
	}
	return from+listStep < l.flows.used
}

func (l *loop) describe(c *conn) Connection {
	var at sockaddr
	if fd := c.half[origin].fd; fd >= 0 {
		sysSockname(fd, &at)
	}
	to := c.at.reaches(c.dst)
	return Connection{
		Connection: procfs.Connection{
			Protocol: ipvs.TCP, Client: c.client.addrPort(), Virtual: c.at.addr, Destination: to.addrPort(),
			State: c.state.String(), Expires: until(l.deadline(c), l.sec),
		},
		Local: at.addrPort(), Service: c.svc.key,
	}
}

func (l *loop) describeFlow(f *flow) Connection {
	var at sockaddr
	sysSockname(f.fd, &at)
	to := f.at.reaches(f.dst)
	return Connection{
		Connection: procfs.Connection{
			Protocol: ipvs.UDP, Client: f.client.addrPort(), Virtual: f.at.addr, Destination: to.addrPort(),
			State: "UDP", Expires: until(l.flowDeadline(f), l.sec),
		},
		Local: at.addrPort(), Service: f.at.ln.svc.key,
	}
}

func until(second, now uint32) time.Duration {
	if second <= now {
		return 0
	}
	return time.Duration(second-now) * time.Second
}

func (l *loop) listGhosts(to *[]Connection) {
	for i := range l.ghosts {
		q := &l.ghosts[i]
		for n := range q.n {
			if g := q.at(q.first + n); g.hold.Server() != nil {
				*to = append(*to, l.describeGhost(g))
			}
		}
	}
}

func (l *loop) describeGhost(g *ghost) Connection {
	svc := g.at.ln.svc
	svc.mu.Lock() // a server that comes back to the scheduler becomes ours anew
	d := of(g.hold.Server())
	svc.mu.Unlock()
	to := g.at.reaches(d)
	c := Connection{Connection: procfs.Connection{
		Protocol: ipvs.TCP, Client: g.clientAddr(), Virtual: g.at.addr, Destination: to.addrPort(),
		State: g.state.String(), Expires: max(g.ends-l.now, 0).Truncate(time.Second),
	}, Service: svc.key}
	if g.lip != nil {
		c.Local = netip.AddrPortFrom(g.lip.addr, 0)
	}
	return c
}

func (e *Engine) listTemplates(to []Connection) []Connection {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.keys() {
		svc := e.services[k]
		svc.mu.Lock()
		for t := range svc.sched.Templates(e.clock()) {
			c := Connection{Connection: procfs.Connection{
				Protocol: k.Protocol, Client: netip.AddrPortFrom(t.Client, 0), Virtual: named(k),
				Destination: of(t.Server).connect.addrPort(), State: sched.None.String(), Expires: t.Expires.Truncate(time.Second),
			}, Service: k}
			if diverted(k) { // ip_vs_sched_persist: for whatever port
				c.Destination = netip.AddrPortFrom(c.Destination.Addr(), 0)
			}
			to = append(to, c)
		}
		svc.mu.Unlock()
	}
	return to
}
