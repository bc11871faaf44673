package fullnat_test

import (
	"encoding/json"
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
	name    string
	log     []string
	record  [][]any   // in the format of fullnat/sched's recordings
	clock   time.Time // of the last recorded step
	port    uint16    // of the last client
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
	again  bool          // its client's port may be used again
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
		twins: w, kind: k, name: k.String(), seed: seed, Rand: rand.New(rand.NewPCG(seed, uint64(k.number))),
		nets: map[netip.Addr]time.Time{}, clock: time.Now(), port: uint16(10000 + seed%200*250),
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
	changes := []ipvs.Change{{Op: ipvs.AddService, Service: m.service.Service}}
	for range 3 + m.IntN(3) {
		d, _ := m.server(false)
		d = m.properties(d)
		m.noteChange(ipvs.AddDestination, d)
		m.service.Destinations = append(m.service.Destinations, d)
		changes = append(changes, ipvs.Change{Op: ipvs.AddDestination, Service: m.service.Service, Destination: d})
	}
	w.must(w.ipvs.Apply(slices.Values(changes)))
	w.want = append(w.want, m.service)
	w.must(w.apply())
	m.settle()
	return m
}

// noteChange notes and records what becomes of a server.
func (m *match) noteChange(op ipvs.Op, d ipvs.Destination) {
	name := m.nameOf(d.Addr)
	m.note("%s %s %d %d %d %s", op, name, d.Weight, d.Upper, d.Lower, m.service.Scheduler)
	switch op {
	case ipvs.AddDestination:
		m.rec("add", name, d.Addr.String(), d.Weight, d.Upper, d.Lower)
	case ipvs.UpdateDestination:
		m.rec("edit", name, d.Weight, d.Upper, d.Lower)
	case ipvs.DeleteDestination:
		m.rec("del", name)
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
}

func (m *match) hangUp(p *pair) {
	for _, c := range []*topo.Conn{p.kernel, p.ours} {
		if c != nil {
			_ = c.Reset()
		}
	}
	p.kernel, p.ours, p.open = nil, nil, false
}

func (m *match) note(format string, a ...any) {
	m.steps++
	m.log = append(m.log, fmt.Sprintf(format, a...))
}

// rec records a step, and the time since the one before.
func (m *match) rec(step ...any) { m.recAt(time.Now(), step...) }

func (m *match) recAt(at time.Time, step ...any) {
	if d := at.Sub(m.clock); d > 100*time.Millisecond {
		m.record = append(m.record, []any{"wait", d.Round(time.Millisecond).Seconds()})
		m.clock = at
	}
	m.record = append(m.record, step)
}

// save appends the run to a file of recordings.
func (m *match) save(name string) error {
	c := map[string]any{
		"name": fmt.Sprintf("%s %d", m.name, m.seed), "scheduler": m.kind.scheduler, "flags": m.flagWords(), "family": m.family.String(),
		"protocol": m.protocol.String(), "service": m.service.Addr.String(), "tags": []string{}, "steps": m.record,
	}
	if m.persistent != 0 {
		c["persistent"], c["netmask"] = int(m.timeout.Seconds()), m.persistent
	}
	if m.flags&ipvs.OnePacket != 0 {
		c["one_packet"] = true
	}
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func (m *match) flagWords() []string {
	words := []string{}
	for f, word := range map[ipvs.Flags]string{ipvs.Sched1: "fallback", ipvs.Sched2: "port"} {
		if m.flags&f != 0 {
			words = append(words, m.kind.scheduler+"-"+word)
		}
	}
	return words
}

// choiceName is a choice as it is recorded.
func choiceName(server string) any {
	if server == nobody {
		return nil
	}
	return server
}

// differ ends the run, and fails the test unless something that ends by itself
// may have ended in one network and not yet in the other when a choice was made.
func (m *match) differ(format string, a ...any) {
	m.t.Helper()
	what := fmt.Sprintf(format, a...)
	if m.stalled {
		m.t.Logf("%s: the machine was too slow to say: %s", m.name, what)
	} else {
		m.t.Errorf("%s, %s: %s\nagain: -twin-seed %d -twin-kind '%s'\nafter\n%s", m.name, m.service.ServiceKey, what, m.seed, m.name, strings.Join(m.log, "\n"))
	}
	m.over = true
}

// settle waits until both tables are the same and have counted what was done:
// packets may be under way.
func (m *match) settle() {
	var diff string
	since := time.Now()
	for end := since.Add(patience); ; time.Sleep(2 * time.Millisecond) {
		kernel, ours := m.rows(m.service.ServiceKey)
		if diff = cmp.Diff(kernel, ours); diff == "" {
			if diff = cmp.Diff(m.counts(), m.counted()); diff == "" {
				return
			}
		}
		if time.Now().After(end) {
			break
		}
	}
	m.watch(since)
	m.differ("the tables: -kernel +ours, or -expected +both\n%s", diff)
}

// counts are the connections of the servers in the list, by what was done.
func (m *match) counts() []string {
	var list []string
	for _, d := range slices.Backward(m.service.Destinations) {
		active, inactive := 0, 0
		for _, p := range m.conns {
			switch {
			case p.server != m.nameOf(d.Addr):
			case p.open && m.protocol == ipvs.TCP:
				active++
			default:
				inactive++
			}
		}
		list = append(list, fmt.Sprint(m.nameOf(d.Addr), " ", active, inactive))
	}
	return list
}

// counted is the same in the kernel's table, which is recorded.
func (m *match) counted() []string {
	list, err := m.ipvs.Destinations(m.service.ServiceKey, nil)
	m.must(err)
	var counts []string
	table := [][]any{}
	for _, d := range list {
		counts = append(counts, fmt.Sprint(m.nameOf(d.Addr), " ", d.Active, d.Inactive))
		table = append(table, []any{m.nameOf(d.Addr), d.Weight, d.Active, d.Inactive, d.Persistent})
	}
	if slices.Equal(counts, m.counts()) {
		m.rec("state", table)
	}
	return counts
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
	dead := func(p *pair) bool { return now.After(p.due().Add(p.life/8 + closing)) }
	slices.SortFunc(m.conns, func(a, b *pair) int { return a.due().Compare(b.due()) })
	for _, p := range m.conns {
		if dead(p) {
			m.tie(p)
			m.recAt(p.due(), "gone", []int{p.number})
			m.hangUp(p)
		}
	}
	m.conns = slices.DeleteFunc(m.conns, dead)
}

// tie is about the one thing that timers of both may do in another order: the
// end of a template that its last connection leaves at the same time.
func (m *match) tie(p *pair) {
	last, ok := m.nets[m.network(p.from.Addr())]
	for due := last.Add(m.timeout); ok && due.Before(p.due().Add(p.life/8+closing)); due = due.Add(time.Minute) {
		if due.After(p.due().Add(-closing)) {
			m.stalled = true
		}
	}
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
func (m *match) open() { m.connect(&pair{from: m.client()}) }

// reuse is open from the port of a connection that the server ended first, so
// that the client may. That still counts until the choice is made. Where a
// template leads, the kernel does not choose.
func (m *match) reuse() {
	for _, p := range m.conns {
		if p.again && m.persistent == 0 {
			m.connect(p)
			return
		}
	}
	m.open()
}

func (m *match) connect(p *pair) {
	m.choose(p, func() (kernel, ours string, err error) {
		if m.flags&ipvs.OnePacket != 0 {
			return m.datagrams(p.from)
		}
		if p.kernel, kernel, err = connect(m.t, m.twins.kernel.Client, m.protocol.String(), p.from, m.service.Addr); err != nil {
			return "", "", err
		}
		if kernel == nobody && m.protocol == ipvs.UDP { // ours says nothing
			ours, err = datagram(m.twins.ours.Client, p.from, m.service.Addr, m.refusals())
			return kernel, ours, err
		}
		p.ours, ours, err = connect(m.t, m.twins.ours.Client, m.protocol.String(), p.from, m.service.Addr)
		return kernel, ours, err
	})
}

// choose has both choose and compares.
func (m *match) choose(p *pair, do func() (kernel, ours string, err error)) {
	number := m.choices
	m.choices++
	since := time.Now()
	kernel, ours, err := do()
	if p.open || p.again { // it was elsewhere
		m.rec("reopen", p.from.String(), choiceName(kernel), p.number)
	} else {
		m.rec("open", p.from.String(), choiceName(kernel))
	}
	p.number = number
	m.note("%d: %s > %s: %s", p.number, p.from, m.service.Addr, kernel)
	p.server, p.last = kernel, time.Now()
	m.conns = slices.DeleteFunc(m.conns, func(o *pair) bool { return o == p })
	switch {
	case kernel == nobody:
		m.refused++
	case m.persistent != 0:
		m.watch(since)
		m.nets[m.network(p.from.Addr())] = p.last
	}
	if kernel == nobody || m.flags&ipvs.OnePacket != 0 {
		m.hangUp(p)
	} else {
		p.open, p.again, p.life = true, false, twinTimeouts.TCP
		if m.protocol == ipvs.UDP {
			p.life = twinTimeouts.UDP
		}
		m.conns = append(m.conns, p)
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
	if kernel, err = datagram(m.twins.kernel.Client, from, m.service.Addr, func() bool { return false }); err != nil {
		return "", "", err
	}
	ours, err = datagram(m.twins.ours.Client, from, m.service.Addr, m.refusals())
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
	if m.protocol == ipvs.UDP {
		m.rec("again", p.number, p.server)
	}
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
	p.again = how == "server closes"
	m.rec(map[string]string{"fin": "halfclose", "reset": "reset", "server resets": "reset", "close": "close", "server closes": "close"}[how], p.number)
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
	m.noteChange(op, d)
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
	for _, p := range slices.Clone(m.conns) {
		if !p.open || p.server != server || m.over {
			continue
		}
		m.choose(p, func() (kernel, ours string, err error) {
			if kernel, err = askAgain(p.kernel, func() bool { return false }); err != nil {
				return kernel, "", err
			}
			ours, err = askAgain(p.ours, m.refusals())
			return kernel, ours, err
		})
	}
}

// askAgain sends a datagram that may be refused.
func askAgain(c *topo.Conn, refused func() bool) (string, error) {
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
	m.rec("sched", s.Scheduler, []string{})
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
		addr := netip.AddrPortFrom(m.addr(m.twins.kernel.Servers[i]), twinPort)
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
	case m.switches != "" && n == 99:
		m.edit()
	default:
		m.reuse()
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
