package fullnat_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// match is one service in both networks and a random history of it. After each
// step both tables must be the same, and with each connection both choices.
type match struct {
	*twins
	kind
	*rand.Rand
	seed    uint64
	service fullnat.Service // with its servers in the order in which they were added
	conns   []*pair         // all that may still count
	nets    map[netip.Addr]time.Time
	servers []*topo.Server
	log     []string
	port    uint16 // of the last client
	wake    time.Time
	choices int
	agree   int
	refused int
	steps   int
	stalled bool // a step took longer than the time we keep to what ends by itself
	over    bool
}

// pair is one connection in both networks.
type pair struct {
	number int
	from   netip.AddrPort
	kernel *topo.Conn
	ours   *topo.Conn
	server string
	open   bool
	last   time.Time     // its last packet
	life   time.Duration // after that
}

// closing is how near the end of an entry no choice is made: entries end in the
// kernel by a wheel of an eighth of their time, in the engine by the second.
const closing = 1500 * time.Millisecond

func (p *pair) due() time.Time { return p.last.Add(p.life) }

// newMatch begins a run. All that choices depend on follows from the seed and the
// kind; no two runs have a client's or a service's address and port in common, as
// the kernel keeps entries and servers for minutes.
func (w *twins) newMatch(k kind, seed uint64) *match {
	m := &match{
		twins: w, kind: k, seed: seed, Rand: rand.New(rand.NewPCG(seed, uint64(k.number))),
		nets: map[netip.Addr]time.Time{}, port: uint16(10000 + seed%200*250),
	}
	vip := w.vips[k.family][m.IntN(len(w.vips[k.family]))]
	m.service = fullnat.Service{Service: ipvs.Service{
		ServiceKey: ipvs.AddrService(k.protocol, netip.AddrPortFrom(vip, uint16(1000+seed%200*200)+uint16(k.number))), Scheduler: k.scheduler, Flags: k.flags,
	}, Options: fullnat.Options{Locals: w.lips}}
	if k.persistent != 0 {
		m.service.Flags |= ipvs.Persistent
		m.service.Timeout = k.timeout
		m.service.Netmask, _ = ipvs.PrefixMask(k.family, k.persistent)
	}
	m.serve()
	w.must(w.ipvs.Do(ipvs.Change{Op: ipvs.AddService, Service: m.service.Service}))
	w.want = append(w.want, m.service)
	w.must(w.apply())
	for range 3 + m.IntN(3) {
		m.add()
	}
	return m
}

// serve has the real servers of both networks answer at the port of the service.
func (m *match) serve() {
	for _, n := range []*topo.Net{m.twins.kernel, m.twins.ours} {
		for _, h := range n.Servers {
			s, err := h.Serve(m.protocol.String(), m.service.Addr.Port(), m.addr(h))
			m.must(err)
			m.servers = append(m.servers, s)
		}
	}
}

func (m *match) addr(h *topo.Host) netip.Addr {
	if m.family == ipvs.IPv6 {
		return h.Addr6
	}
	return h.Addr4
}

// end takes the service away.
func (m *match) end() {
	m.over = true
	for _, p := range m.conns {
		m.hangUp(p)
	}
	m.must(m.ipvs.Do(ipvs.Change{Op: ipvs.DeleteService, Service: m.service.Service}))
	m.want = slices.DeleteFunc(m.want, func(s fullnat.Service) bool { return s.ServiceKey == m.service.ServiceKey })
	m.must(m.apply())
	for _, s := range m.servers {
		s.Close()
	}
}

func (m *match) hangUp(p *pair) {
	if p.kernel != nil {
		_ = p.kernel.Reset()
		_ = p.ours.Reset()
	}
	p.kernel, p.ours, p.open = nil, nil, false
}

func (m *match) note(format string, a ...any) {
	m.steps++
	m.log = append(m.log, fmt.Sprintf(format, a...))
}

// differ ends the run, and fails the test unless something that ends by itself
// may have ended in one network and not yet in the other when a choice was made.
func (m *match) differ(format string, a ...any) {
	m.t.Helper()
	what := fmt.Sprintf(format, a...)
	if m.stalled {
		m.t.Logf("%s: the machine was too slow to say: %s", m.kind, what)
	} else {
		m.t.Errorf("%s, %s: %s\nagain: -twin-seed %d -twin-kind '%s'\nafter\n%s", m.kind, m.service.ServiceKey, what, m.seed, m.kind, strings.Join(m.log, "\n"))
	}
	m.over = true
}

// settle waits until both tables are the same: packets may be under way, and
// timers are not to the moment.
func (m *match) settle() {
	var diff string
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		kernel, ours := m.rows(m.service.ServiceKey)
		if diff = cmp.Diff(kernel, ours); diff == "" {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	m.differ("the tables: -kernel +ours\n%s", diff)
}

// busy returns when the next choice can be made: not while an entry is about to
// end.
func (m *match) busy() (until time.Time) {
	now := time.Now()
	look := func(due time.Time, life time.Duration) {
		if from, to := due.Add(-closing), due.Add(life/8+closing); now.After(from) && now.Before(to) && to.After(until) {
			until = to
		}
	}
	for _, p := range m.conns {
		look(p.due(), p.life)
	}
	for a, last := range m.nets {
		for due := last.Add(m.timeout); !due.After(now.Add(closing)); due = due.Add(time.Minute) {
			look(due, time.Minute)
			if !m.held(a) {
				break
			}
		}
	}
	return until
}

// held tells whether connections may hold a template, which then lives on by the
// minute.
func (m *match) held(network netip.Addr) bool {
	return slices.ContainsFunc(m.conns, func(p *pair) bool { return m.network(p.from.Addr()) == network })
}

func (m *match) network(a netip.Addr) netip.Addr {
	p, _ := a.Prefix(max(m.persistent, 1))
	return p.Masked().Addr()
}

// watch tells whether anything was due to end since a moment. Then it is not to
// be known who saw what, and the rest of the run decides nothing.
func (m *match) watch(since time.Time) {
	now := time.Now()
	look := func(due time.Time, life time.Duration) {
		if now.After(due.Add(-closing/3)) && since.Before(due.Add(life/8+closing)) {
			m.stalled = true
		}
	}
	for _, p := range m.conns {
		look(p.due(), p.life)
	}
	for _, last := range m.nets {
		for due := last.Add(m.timeout); !due.After(now.Add(closing)); due = due.Add(time.Minute) {
			look(due, time.Minute)
		}
	}
}

// bury forgets connections that do not count any more, and what is left of them.
func (m *match) bury() {
	now := time.Now()
	m.conns = slices.DeleteFunc(m.conns, func(p *pair) bool {
		gone := now.After(p.due().Add(p.life/8 + closing))
		if gone {
			m.hangUp(p)
		}
		return gone
	})
}

// client is one of 64 addresses of the run, with a port of its own.
func (m *match) client() netip.AddrPort {
	base := m.twins.kernel.Client.Addr4
	if m.family == ipvs.IPv6 {
		base = m.twins.kernel.Client.Addr6
	}
	b := base.As16()
	b[14], b[15] = byte(1+m.number), byte(1+m.IntN(64)*3)
	a := netip.AddrFrom16(b)
	if m.family == ipvs.IPv4 {
		a = a.Unmap()
	}
	m.port++
	return netip.AddrPortFrom(a, m.port)
}

// open makes a connection in both networks and compares who has it.
func (m *match) open() {
	p := &pair{number: m.choices, from: m.client()}
	m.choose(p, func() (kernel, ours string, err error) {
		if m.flags&ipvs.OnePacket != 0 {
			return m.datagrams(p.from)
		}
		if p.kernel, kernel, err = connect(m.t, m.twins.kernel.Client, m.protocol.String(), p.from, m.service.Addr); err != nil {
			return "", "", err
		}
		if kernel == nobody && m.protocol == ipvs.UDP { // ours says nothing
			ours, err = datagram(m.t, m.twins.ours.Client, p.from, m.service.Addr, m.refusals())
			return kernel, ours, err
		}
		p.ours, ours, err = connect(m.t, m.twins.ours.Client, m.protocol.String(), p.from, m.service.Addr)
		return kernel, ours, err
	})
	if p.server == nobody || m.flags&ipvs.OnePacket != 0 {
		m.hangUp(p)
		return
	}
	p.open, p.life = true, twinTimeouts.TCP
	if m.protocol == ipvs.UDP {
		p.life = twinTimeouts.UDP
	}
	m.conns = append(m.conns, p)
}

// choose has both choose and compares.
func (m *match) choose(p *pair, do func() (kernel, ours string, err error)) {
	m.choices++
	since := time.Now()
	kernel, ours, err := do()
	m.note("%d: %s > %s: %s", p.number, p.from, m.service.Addr, kernel)
	p.server, p.last = kernel, time.Now()
	if kernel == nobody {
		m.refused++
	} else if m.persistent != 0 {
		m.watch(since)
		m.nets[m.network(p.from.Addr())] = p.last
	}
	m.watch(since)
	switch {
	case err != nil:
		m.differ("connection %d: the kernel chose %q, ours %q: %v", p.number, kernel, ours, err)
	case kernel != ours:
		m.differ("connection %d: the kernel chose %s, ours %s", p.number, kernel, ours)
	default:
		m.agree++
		m.settle()
	}
}

// refusals tells whether the engine has refused since.
func (m *match) refusals() func() bool {
	before := m.engine.Errors().Refused
	return func() bool { return m.engine.Errors().Refused > before }
}

// datagrams sends one datagram each.
func (m *match) datagrams(from netip.AddrPort) (kernel, ours string, err error) {
	if kernel, err = datagram(m.t, m.twins.kernel.Client, from, m.service.Addr, func() bool { return false }); err != nil {
		return "", "", err
	}
	ours, err = datagram(m.t, m.twins.ours.Client, from, m.service.Addr, m.refusals())
	return kernel, ours, err
}

// live are the connections that are open on both sides and whose server is in
// the list: the kernel drops what goes to another one.
func (m *match) live() (list []*pair) {
	for _, p := range m.conns {
		if p.open && slices.ContainsFunc(m.service.Destinations, func(d ipvs.Destination) bool { return m.nameOf(d.Addr) == p.server }) {
			list = append(list, p)
		}
	}
	return list
}

func (m *match) pick() *pair {
	if list := m.live(); len(list) > 0 {
		return list[m.IntN(len(list))]
	}
	return nil
}

// again asks on an open connection.
func (m *match) again(p *pair) {
	m.note("%d again", p.number)
	since := time.Now()
	a, err1 := p.kernel.Ask(m.t.Context())
	b, err2 := p.ours.Ask(m.t.Context())
	p.last = time.Now()
	m.watch(since)
	if err1 != nil || err2 != nil || a.Server != p.server || b.Server != p.server {
		m.differ("connection %d of %s: the kernel says %s %v, ours %s %v", p.number, p.server, a.Server, err1, b.Server, err2)
		return
	}
	m.settle()
}

// finish ends one or both halves: how is what the server is told, or close and
// reset, which the client does.
func (m *match) finish(p *pair, how string) {
	m.note("%d: %s", p.number, how)
	since := time.Now()
	var errs []error
	for _, c := range []*topo.Conn{p.kernel, p.ours} {
		switch how {
		case "close":
			errs = append(errs, c.Close())
		case "reset":
			errs = append(errs, c.Reset())
		case "fin", "server resets", "server closes":
			word := map[string]string{"fin": "fin", "server resets": "reset", "server closes": "close"}[how]
			if _, err := c.Say(m.t.Context(), word); err != nil && word != "reset" {
				errs = append(errs, err)
			}
			if word != "reset" {
				errs = append(errs, awaitEnd(c))
			}
			if word != "fin" {
				errs = append(errs, c.Close())
			}
		}
	}
	p.open, p.last = false, time.Now()
	switch how {
	case "fin":
		p.life = twinTimeouts.TCPFin
	case "reset", "server resets":
		p.life = 10 * time.Second
	default:
		p.life = 2 * time.Minute
	}
	if how != "fin" {
		p.kernel, p.ours = nil, nil
	}
	m.watch(since)
	if err := errors.Join(errs...); err != nil {
		m.differ("connection %d: %v", p.number, err)
		return
	}
	m.settle()
}

func awaitEnd(c *topo.Conn) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the server did not end its half: %w", errors.Join(err, os.ErrInvalid))
	}
	return nil
}

// change has both do the same to a server, or to the service itself.
func (m *match) change(op ipvs.Op, d ipvs.Destination) {
	m.note("%s %s %d %d %d %s", op, m.nameOf(d.Addr), d.Weight, d.Upper, d.Lower, m.service.Scheduler)
	list := &m.service.Destinations
	at := slices.IndexFunc(*list, func(have ipvs.Destination) bool { return have.Addr == d.Addr })
	switch op {
	case ipvs.AddDestination:
		*list = append(slices.Clone(*list), d)
	case ipvs.UpdateDestination:
		*list = slices.Clone(*list)
		(*list)[at] = d
	case ipvs.DeleteDestination:
		*list = slices.Delete(slices.Clone(*list), at, at+1)
	}
	for i := range m.want {
		if m.want[i].ServiceKey == m.service.ServiceKey {
			m.want[i] = m.service
		}
	}
	m.must(m.ipvs.Do(ipvs.Change{Op: op, Service: m.service.Service, Destination: d}))
	m.must(m.apply())
	if op == ipvs.DeleteDestination && m.protocol == ipvs.UDP {
		m.move(m.nameOf(d.Addr))
	}
	if !m.over {
		m.settle()
	}
}

// move has the sessions of a server that was removed go elsewhere: in the engine
// they do with their next datagram, in the kernel with expire_nodest_conn.
func (m *match) move(server string) {
	const knob = "net.ipv4.vs.expire_nodest_conn"
	m.must(m.twins.kernel.Director.Sysctl(knob, "1"))
	defer func() { m.must(m.twins.kernel.Director.Sysctl(knob, "0")) }()
	var gone []*pair
	for _, p := range m.conns {
		if !p.open || p.server != server || m.over {
			continue
		}
		m.choose(p, func() (kernel, ours string, err error) {
			if kernel, err = askAgain(m, p.kernel, func() bool { return false }); err != nil {
				return kernel, "", err
			}
			ours, err = askAgain(m, p.ours, m.refusals())
			return kernel, ours, err
		})
		if p.server == nobody {
			gone = append(gone, p)
		}
	}
	for _, p := range gone {
		m.hangUp(p)
	}
	m.conns = slices.DeleteFunc(m.conns, func(p *pair) bool { return slices.Contains(gone, p) })
}

// askAgain sends a datagram that may be refused.
func askAgain(m *match, c *topo.Conn, refused func() bool) (string, error) {
	if _, err := io.WriteString(c.Conn, "name\n"); err != nil {
		return "", err
	}
	buf := make([]byte, 200)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := c.Conn.Read(buf)
		switch {
		case err == nil:
			a, err := topo.ParseAnswer(string(buf[:n]))
			return a.Server, err
		case !errors.Is(err, os.ErrDeadlineExceeded): // ICMP
			return nobody, nil
		case refused():
			return nobody, nil
		}
	}
	return "", errors.New("no answer")
}

// edit gives the service another scheduler or other flags.
func (m *match) edit() {
	s := m.service.Service
	s.Scheduler, m.switches = m.switches, s.Scheduler
	m.note("service: %s", s.Scheduler)
	m.service.Service = s
	for i := range m.want {
		if m.want[i].ServiceKey == s.ServiceKey {
			m.want[i] = m.service
		}
	}
	m.must(m.ipvs.Do(ipvs.Change{Op: ipvs.UpdateService, Service: s}))
	m.must(m.apply())
	m.settle()
}

// server is a real server that is, or is not, in the list.
func (m *match) server(listed bool) (d ipvs.Destination, ok bool) {
	for _, i := range m.Perm(len(m.twins.kernel.Servers)) {
		addr := netip.AddrPortFrom(m.addr(m.twins.kernel.Servers[i]), m.service.Addr.Port())
		at := slices.IndexFunc(m.service.Destinations, func(d ipvs.Destination) bool { return d.Addr == addr })
		switch {
		case listed && at >= 0:
			return m.service.Destinations[at], true
		case !listed && at < 0:
			return ipvs.Destination{Addr: addr, Method: ipvs.NAT}, true
		}
	}
	return d, false
}

func (m *match) properties(d ipvs.Destination) ipvs.Destination {
	d.Weight = int32([]int{0, 1, 1, 2, 3, 4, 6, 300}[m.IntN(8)])
	d.Upper, d.Lower = 0, 0
	if m.thresholds && m.IntN(3) > 0 {
		d.Upper = uint32(m.IntN(9))
		d.Lower = uint32(m.IntN(int(d.Upper) + 1))
	}
	return d
}

func (m *match) add() {
	if d, ok := m.server(false); ok {
		m.change(ipvs.AddDestination, m.properties(d))
	}
}

func (m *match) update() {
	if d, ok := m.server(true); ok {
		if to := m.properties(d); to != d { // the engine does nothing, and wrr would begin anew in the kernel
			m.change(ipvs.UpdateDestination, to)
		}
	}
}

func (m *match) remove() {
	if d, ok := m.server(true); ok {
		m.change(ipvs.DeleteDestination, d)
	}
}

// step is one thing that happens at random.
func (m *match) step() {
	if until := m.busy(); !until.IsZero() {
		m.wake = until
		return
	}
	m.bury()
	switch n := m.IntN(100); {
	case n < 60:
		m.open()
	case n < 78:
		m.touch()
	case n < 90:
		m.update()
	case n < 94:
		m.add()
	case n < 97:
		m.remove()
	case m.switches != "":
		m.edit()
	default:
		m.open()
	}
}

// touch does something to an open connection.
func (m *match) touch() {
	p := m.pick()
	if p == nil {
		return
	}
	if m.protocol == ipvs.UDP {
		m.again(p)
		return
	}
	ways := []string{"close", "close", "reset", "fin", "server resets", "server closes"}
	if n := m.IntN(len(ways) + 1); n == len(ways) {
		m.again(p)
	} else {
		m.finish(p, ways[n])
	}
}
