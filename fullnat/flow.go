package fullnat

import (
	"syscall"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// flow is a UDP session: the datagrams of one client to one service, and a
// socket of its own to the server, by which answers are told apart. With
// one-packet scheduling a client has a flow for each server.
type flow struct {
	fd    int32 // -1 before there is one
	index int32
	gen   uint32 // even: free
	next  int32  // in the flow table, index+1
	hash  uint32
	timer timer
	last  uint32

	at     *virtual // what the client addressed
	dst    *server
	lip    *local
	hold   sched.Conn
	failed *sched.Server // the server that refused last
	client sockaddr
	opened bool // the PROXY header was sent
	// limits is how long the datagrams of a train to the client, and to the server,
	// may be; 0 is that there are none.
	limits [2]uint16
	asked  uint64 // the last round in which the client sent something, in
	run    int32  // of the batch
	// answered is the last round in which answers were taken, many: several at once.
	answered uint64
	many     bool
}

// onePacketLife is how long, in seconds, a flow of one-packet scheduling waits
// for an answer.
const onePacketLife = 5

// flowTable finds a listener's flows by client and by what that addressed.
type flowTable struct {
	buckets []int32 // index+1
	n       int
}

func (f *flow) is(at *virtual, from *sockaddr, dst *server) bool {
	return f.at == at && f.client == *from && (dst == nil || f.dst == dst)
}

// hashOf mixes what differs between clients (FNV-1a over words).
func hashOf(a *sockaddr) uint32 {
	h := uint32(2166136261)
	for _, w := range [...]uint32{
		uint32(a.raw.Port), a.raw.Flowinfo, a.raw.Scope_id, // Flowinfo is where IPv4 has its address
		word(a.raw.Addr[0:]), word(a.raw.Addr[4:]), word(a.raw.Addr[8:]), word(a.raw.Addr[12:]),
	} {
		h = (h ^ w) * 16777619
		h ^= h >> 15
	}
	return h
}

func word(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// plain is an address with nothing in it that does not tell clients apart.
func (s *sockaddr) plain() {
	if s.family() == unix.AF_INET {
		v4 := *s.v4()
		v4.Zero = [8]uint8{}
		len := s.len
		*s = sockaddr{len: len}
		*s.v4() = v4
		return
	}
	s.raw.Flowinfo = 0
}

// find returns the flow of a client, nil when there is none. A dst that is not
// nil is part of the question.
func (l *loop) find(at *virtual, from *sockaddr, h uint32, dst *server) *flow {
	t := &at.ln.table
	if len(t.buckets) == 0 {
		return nil
	}
	for i := t.buckets[h%uint32(len(t.buckets))]; i != 0; {
		f := l.flows.at(i - 1)
		if f.hash == h && f.is(at, from, dst) {
			return f
		}
		i = f.next
	}
	return nil
}

// insert files a flow; the table doubles when it is full.
func (l *loop) insert(t *flowTable, f *flow) {
	if t.n >= len(t.buckets) {
		old := t.buckets
		t.buckets = make([]int32, max(64, 2*len(old)))
		for _, i := range old {
			for i != 0 {
				g := l.flows.at(i - 1)
				i, g.next = g.next, 0
				l.file(t, g)
			}
		}
	}
	t.n++
	l.file(t, f)
}

func (l *loop) file(t *flowTable, f *flow) {
	b := &t.buckets[f.hash%uint32(len(t.buckets))]
	f.next = *b
	*b = f.index + 1
}

func (l *loop) unfile(t *flowTable, f *flow) {
	for link := &t.buckets[f.hash%uint32(len(t.buckets))]; *link != 0; {
		g := l.flows.at(*link - 1)
		if g == f {
			*link = f.next
			t.n--
			return
		}
		link = &g.next
	}
}

// flowFor returns the flow that a datagram goes by, made if need be; nil drops
// the datagram.
func (l *loop) flowFor(at *virtual, from *sockaddr, set *settings) *flow {
	h := hashOf(from) ^ at.salt
	if set.onePacket {
		return l.onePacket(at, from, h, set)
	}
	if f := l.find(at, from, h, nil); f != nil {
		if f.fd >= 0 || l.assign(f, set) {
			return f
		}
		return nil
	}
	f := l.newFlow(at, from, h)
	if f == nil || !l.assign(f, set) {
		return nil
	}
	return f
}

func (l *loop) newFlow(at *virtual, from *sockaddr, h uint32) *flow {
	ln := at.ln
	at.join() // before others end, of which one may be its last
	if l.engine.atLimit() || ln.crowded() {
		l.evict(ln)
		if l.engine.atLimit() || ln.crowded() {
			l.askForRoom(ln)
			l.errs.noFiles.Add(1)
			l.leave(at)
			return nil
		}
	}
	f, i := l.flows.take()
	*f = flow{fd: -1, index: i, gen: f.gen + 1, hash: h, at: at, client: *from, last: l.sec, many: true}
	f.limits[client] = l.engine.trains
	l.insert(&ln.table, f)
	ln.svc.live.Add(1)
	l.engine.conns.Add(1)
	l.flowWheel.arm(&l.flows, i, l.flowDeadline(f))
	return f
}

// onePacket schedules a datagram by itself. The flow to the chosen server lives
// on for the answer, and serves the client's next datagram that comes to it.
func (l *loop) onePacket(at *virtual, from *sockaddr, h uint32, set *settings) *flow {
	svc := at.ln.svc
	svc.mu.Lock()
	choice, ok := svc.sched.Choose(l.now, from.unscoped(), at.addr)
	var dst *server
	if ok {
		var hold sched.Conn
		svc.sched.Bind(l.now, &hold, choice, ipvs.UDP)
		svc.sched.End(l.now, &hold)
		dst = of(choice.Server)
	}
	svc.mu.Unlock()
	if !ok {
		l.errs.refused.Add(1)
		return nil
	}
	dst.shares[l.id].conns.Add(1)
	if f := l.find(at, from, h, dst); f != nil {
		return f
	}
	f := l.newFlow(at, from, h)
	if f == nil {
		return nil
	}
	l.attach(f, dst)
	if !l.openFlow(f, set) {
		l.endFlow(f)
		return nil
	}
	return f
}

func (l *loop) attach(f *flow, dst *server) {
	f.dst = dst
	dst.shares[l.id].live.Add(1)
}

// assign chooses a server for a flow, another one than that which refused, and
// opens the socket to it. On false the flow is gone.
func (l *loop) assign(f *flow, set *settings) bool {
	if !l.chooseFlow(f) {
		l.errs.refused.Add(1)
		l.endFlow(f)
		return false
	}
	f.dst.shares[l.id].conns.Add(1)
	if !l.openFlow(f, set) {
		l.endFlow(f)
		return false
	}
	return true
}

func (l *loop) chooseFlow(f *flow) bool {
	svc, from, to := f.at.ln.svc, f.client.unscoped(), f.at.addr
	svc.mu.Lock()
	defer svc.mu.Unlock()
	choice, ok := svc.remembered(from, to)
	if !ok && f.failed != nil {
		tried := [1]*sched.Server{f.failed}
		choice, ok = svc.sched.ChooseOther(l.now, from, to, tried[:])
	}
	if !ok {
		choice, ok = svc.sched.Choose(l.now, from, to)
	}
	if !ok {
		return false
	}
	svc.sched.Bind(l.now, &f.hold, choice, ipvs.UDP)
	l.attach(f, of(choice.Server))
	return true
}

// openFlow opens the socket to a flow's server.
func (l *loop) openFlow(f *flow, set *settings) bool {
	fd, e := sysSocket(f.dst.connect.family(), unix.SOCK_DGRAM)
	if e != noErr {
		l.errs.noFiles.Add(1)
		return false
	}
	f.fd, f.limits[origin] = fd, l.engine.trains
	l.engine.takeTrains(fd)
	if !l.connectFlow(f, set.locals(f.dst.connect.family())) {
		l.errs.exhausted.Add(1)
		return false
	}
	e = sysEpollControl(l.epoll, unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, newToken(kindOther, f.index+1, f.gen))
	return e == noErr
}

// connectFlow binds and connects. A UDP port of a LIP is taken for all servers
// at once, and the kernel says EAGAIN when there is none.
func (l *loop) connectFlow(f *flow, locals []*local) bool {
	lip := l.pick(locals)
	to := f.at.reaches(f.dst)
	if lip == nil {
		return sysConnect(f.fd, &to) == noErr
	}
	sysSetInt(f.fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	for range locals {
		share := &lip.shares[l.id]
		switch e := l.reach(f.fd, lip, &to); e {
		case noErr:
			f.lip = lip
			share.live.Add(1)
			share.total.Add(1)
			return true
		case unix.EAGAIN, unix.EADDRINUSE:
			share.conflicts.Add(1)
		default:
			share.unusable.Add(1)
		}
		lip = next(locals, lip)
	}
	return false
}

func (l *loop) reach(fd int32, lip *local, to *sockaddr) syscall.Errno {
	if e := sysBind(fd, &lip.bind); e != noErr {
		return e
	}
	return sysConnect(fd, to)
}

// refusedFlow: nobody listens at the server. The flow goes elsewhere with its
// next datagram.
func (l *loop) refusedFlow(f *flow) {
	f.dst.shares[l.id].failed.Add(1)
	f.failed = f.hold.Server()
	l.detach(f)
}

// detach takes a flow from its server.
func (l *loop) detach(f *flow) {
	if f.fd >= 0 {
		sysClose(f.fd)
		f.fd = -1
	}
	if f.lip != nil {
		f.lip.shares[l.id].live.Add(-1)
		f.lip = nil
	}
	if f.dst != nil {
		f.dst.shares[l.id].live.Add(-1)
		f.dst = nil
	}
	f.opened = false
	if f.hold.Server() != nil {
		svc := f.at.ln.svc
		svc.mu.Lock()
		svc.sched.End(l.now, &f.hold)
		svc.mu.Unlock()
	}
}

func (l *loop) endFlow(f *flow) {
	l.detach(f)
	l.flowWheel.disarm(&l.flows, f.index)
	ln := f.at.ln
	l.unfile(&ln.table, f)
	ln.svc.live.Add(-1)
	l.leave(f.at)
	l.engine.conns.Add(-1)
	l.released = true
	if ln.retired && ln.table.n == 0 {
		sysClose(ln.fd)
	}
	i := f.index
	*f = flow{gen: f.gen + 1}
	l.flows.put(i)
}

func (l *loop) flowDeadline(f *flow) uint32 {
	if f.at.ln.svc.settings.Load().onePacket {
		return f.last + onePacketLife
	}
	return f.last + l.engine.idle.udp.Load()
}

func (l *loop) flowExpired(i int32) {
	f := l.flows.at(i)
	if ends := l.flowDeadline(f); ends > l.sec {
		l.flowWheel.arm(&l.flows, i, ends)
		return
	}
	l.endFlow(f)
}

// evict ends the longest idle of a few flows, to make room for a new one: of the
// listener's if it is its service that may not have more.
func (l *loop) evict(ln *listener) {
	var oldest *flow
	for range 16 {
		f := l.anyFlow()
		if ln.crowded() {
			f = l.someFlow(&ln.table)
		}
		if f != nil && (oldest == nil || f.last < oldest.last) {
			oldest = f
		}
	}
	if oldest != nil {
		l.endFlow(oldest)
	}
}

// askForRoom has another loop end a session, as this one has none to end, so that
// the client's next datagram finds room.
func (l *loop) askForRoom(ln *listener) {
	others := uint32(len(l.engine.loops) - 1)
	if others == 0 || l.asked == l.round {
		return
	}
	l.asked = l.round
	l.engine.loops[(uint32(l.id)+1+l.random()%others)%(others+1)].do(func(o *loop) {
		for _, other := range o.listeners {
			if other != nil && other.svc == ln.svc && other.datagrams && (other.crowded() || l.engine.atLimit()) {
				o.evict(other)
			}
		}
	})
}

// anyFlow is a flow at random; nil: it was none.
func (l *loop) anyFlow() *flow {
	if l.flows.used == 0 {
		return nil
	}
	f := l.flows.at(int32(l.random() % uint32(l.flows.used)))
	if f.gen%2 == 0 {
		return nil
	}
	return f
}

// someFlow is the eldest flow of a bucket at random that has any; nil: none was
// found soon.
func (l *loop) someFlow(t *flowTable) *flow {
	at := int(l.random() >> 1)
	for n := range min(len(t.buckets), 256) {
		if i := t.buckets[(at+n)%len(t.buckets)]; i != 0 {
			f := l.flows.at(i - 1)
			for f.next != 0 {
				f = l.flows.at(f.next - 1)
			}
			return f
		}
	}
	return nil
}

// remembered is the server that a client's session had in the process before
// this one.
func (svc *service) remembered(from, to addrPort) (sched.Choice, bool) {
	if len(svc.sessions) == 0 {
		return sched.Choice{}, false
	}
	k := sessionKey{from, to}
	s, ok := svc.sessions[k]
	delete(svc.sessions, k)
	if !ok || time.Now().After(s.until) {
		return sched.Choice{}, false
	}
	d := svc.sched.Server(s.server)
	return sched.Choice{Server: d}, d != nil
}
