package fullnat

import (
	"syscall"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// receive takes a batch of datagrams that came to a service and sends each to
// its flow's server.
func (l *loop) receive(ln *listener) {
	if l.in == nil {
		l.in = newBatch(true)
	}
	n, _ := l.in.receive(ln.fd, 0, batchSize)
	if set := ln.svc.settings.Load(); set.onePacket {
		l.scatter(ln, set, int32(n))
	} else {
		l.gather(ln, set, int32(n))
	}
}

// scatter schedules each of the first n places' datagrams by itself.
func (l *loop) scatter(ln *listener, set *settings, n int32) {
	for i := range n {
		l.in.next[i] = theEnd.place
		for at := (cursor{place: i}); at != theEnd; {
			_, next := l.in.datagram(at)
			if f := l.flowOf(ln, i, set); f != nil {
				l.forward(f, set, at, next, noErr)
			} else {
				l.errs.dropped.Add(1)
			}
			at = next
		}
	}
}

// gather sends what the first n places have session by session: clients' datagrams
// come mixed, and those of one make a train.
func (l *loop) gather(ln *listener, set *settings, n int32) {
	b := l.in
	b.run = 0
	for i := range n {
		switch f := l.flowOf(ln, i, set); {
		case f == nil:
			b.next[i] = theEnd.place
			l.errs.dropped.Add(b.count(cursor{place: i}, theEnd))
		case f.asked == l.round:
			b.append(f.run, i)
		default:
			f.asked, f.run = l.round, b.run
			b.begin(f, i)
		}
	}
	l.forwardTogether(set)
	for k := range b.run {
		r := &b.runs[k]
		if r.sent {
			continue
		}
		at := cursor{place: r.first}
		if f := l.flows.at(r.flow.index); f.gen == r.flow.gen && f.fd >= 0 {
			l.forward(f, set, at, theEnd, r.err)
		} else { // it had to make room for another one
			l.errs.dropped.Add(b.count(at, theEnd))
		}
	}
}

// flowOf is the flow of what is in a place, made if need be; nil drops it.
func (l *loop) flowOf(ln *listener, i int32, set *settings) *flow {
	at := l.addressedBy(ln, l.in, i)
	if at == nil {
		return nil
	}
	f := l.flowFor(at, &l.in.peers[i], set)
	if f == nil {
		l.vacate(at)
	}
	return f
}

// forwardTogether sends by one system call, as the tray does for TCP, what goes
// as one message for each session and has no header. The runs say what became
// of it.
func (l *loop) forwardTogether(set *settings) {
	b, ring := l.in, l.tray.ring
	if ring == nil || set.proxy != NoProxy {
		return
	}
	b.out.clear()
	n := 0
	for k := range b.run {
		r := &b.runs[k]
		f := l.flows.at(r.flow.index)
		if f.gen != r.flow.gen || f.fd < 0 {
			continue
		}
		if alone, ok := b.alone(r); ok {
			ring.send(f.fd, alone, int(k))
		} else if i, ok := b.train(r, f); ok && !l.tray.noControl {
			ring.sendMessage(f.fd, &b.out.msgs[i].hdr, int(k))
		} else {
			continue
		}
		r.sent = true
		n++
	}
	if n == 0 {
		return
	}
	did := ring.submit(n)
	for k := range b.run {
		if r := &b.runs[k]; r.sent {
			r.sent = did > 0
			did--
		}
	}
	for k, res, ok := ring.result(); ok; k, res, ok = ring.result() {
		r := &b.runs[k]
		if res >= 0 {
			continue
		}
		r.sent, r.err = false, syscall.Errno(-res)
		if _, alone := b.alone(r); !alone && r.err == unix.EINVAL {
			// It may also be the train, which the ordinary call is to say.
			l.tray.noControl, r.err = true, noErr
		}
	}
	for k := range b.run {
		if r := &b.runs[k]; r.sent {
			f := l.flows.at(r.flow.index)
			f.last, f.opened = l.sec, true
			f.dst.shares[l.id].datagramsIn(b.weigh(r))
		}
	}
}

// forward sends datagrams of one flow; e is what came of an attempt to send the
// first. What the socket does not take is dropped, as a network would.
func (l *loop) forward(f *flow, set *settings, at, end cursor, e syscall.Errno) {
	f.last = l.sec
	o := &l.in.out
	moved, told := false, false
	for tried := e != noErr; at != end; tried = false {
		after := l.load(f, set, at, end)
		n := 0
		if !tried {
			n, e = o.send(f.fd, 0)
		}
		if n > 0 {
			f.opened = true
			l.countIn(f, o.items[:n])
		}
		if at = after; n < o.n {
			at = o.items[n].at
		}
		switch it := &o.items[0]; {
		case e == noErr:
		case e == unix.ECONNREFUSED && !set.onePacket && !moved:
			moved = true
			if l.refusedFlow(f); !l.assign(f, set) {
				l.errs.dropped.Add(l.in.count(at, end))
				return
			}
		case e == unix.ECONNREFUSED && !moved: // of an earlier one; this one was not sent
			moved = true
			f.dst.shares[l.id].failed.Add(1)
		case e == unix.EMSGSIZE && !told: // likewise: the path has become narrower, and what follows is sent in fragments
			told = true
		case it.count > 1 && refusesTrain(e):
			f.limits[origin] = it.narrower(e)
		default:
			l.errs.dropped.Add(uint64(it.count))
			if at = after; o.n > 1 {
				at = o.items[1].at
			}
		}
	}
}

// load puts datagrams into the outbox, with PROXY headers where they belong,
// until it is full. It returns the cursor of what did not fit.
func (l *loop) load(f *flow, set *settings, at, end cursor) cursor {
	o := &l.in.out
	o.clear()
	var header []byte
	if set.proxy != NoProxy && (set.headEach || !f.opened) {
		header = AppendProxyHeader(l.in.header[:0], ProxyV2, ipvs.UDP, f.client.unscoped(), f.at.addr)
	}
	trusted := header != nil && set.trusts(&f.client)
	for at != end && !o.full() {
		data, next := l.in.datagram(at)
		head := header
		if trusted && introduced(data) {
			head = nil
		}
		o.add(f, at, head, data, nil, f.limits[origin])
		if at = next; !set.headEach {
			header = nil
		}
	}
	return at
}

func (l *loop) countIn(f *flow, items []item) {
	var n, bytes uint64
	for i := range items {
		n += uint64(items[i].count)
		bytes += uint64(items[i].bytes)
	}
	f.dst.shares[l.id].datagramsIn(n, bytes)
}
