package fullnat

import (
	"syscall"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

const (
	// replies is how many answers of one flow are taken at a time.
	replies = 8
	// turns is how many times that is before others have their turn.
	turns = 8
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
			if f := l.flowFor(ln, &l.in.peers[i], set); f != nil {
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
	l.batches++
	for i := range n {
		switch f := l.flowFor(ln, &b.peers[i], set); {
		case f == nil:
			b.next[i] = theEnd.place
			l.errs.dropped.Add(b.count(cursor{place: i}, theEnd))
		case f.batch == l.batches:
			b.append(f.run, i)
		default:
			f.batch, f.run = l.batches, b.run
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
		} else if i, ok := b.train(r, f); ok && !l.tray.trainless {
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
			// Before Linux 6.5 there are no control messages by io_uring; it may also
			// be the train, which the ordinary call is to say.
			l.tray.trainless, r.err = true, noErr
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
		header = AppendProxyHeader(l.in.header[:0], ProxyV2, ipvs.UDP, f.client.unscoped(), f.ln.svc.key.Addr)
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

// answer takes what a server sent to a flow's client, to be sent with that of
// other flows. What is left after some turns waits for the next round: a server
// may send faster than anybody can pass on.
func (l *loop) answer(f *flow) {
	told := false
	for range turns {
		b := l.room(f.ln)
		n, e := b.receive(f.fd, l.outN, replies)
		switch {
		case e == noErr:
		case e == unix.EAGAIN:
			return
		case e == unix.ECONNREFUSED && f.hold.Server() != nil:
			l.refusedFlow(f)
			return
		case !told: // of a datagram that was sent, by ICMP; there may be answers behind it
			told = true
			if e == unix.ECONNREFUSED { // one-packet
				f.dst.shares[l.id].failed.Add(1)
			}
			continue
		default:
			return
		}
		l.reply(f, int32(l.outN), int32(n))
		l.outN += n
		f.last = l.sec
		if n < replies {
			return
		}
	}
	l.talkers = append(l.talkers, ref{index: f.index, gen: f.gen})
}

// reply puts the answers in n places into the outbox.
func (l *loop) reply(f *flow, from, n int32) {
	var count, bytes uint64
	for i := from; i < from+n; i++ {
		l.out.next[i] = theEnd.place
		for at := (cursor{place: i}); at != theEnd; {
			if l.out.out.full() {
				l.sendReplies()
			}
			data, next := l.out.datagram(at)
			l.out.out.add(f, at, nil, data, &f.client, f.limits[client])
			count++
			bytes += uint64(len(data))
			at = next
		}
	}
	f.dst.shares[l.id].datagramsOut(count, bytes)
}

// room returns the outgoing batch with place for a few datagrams of a service.
func (l *loop) room(ln *listener) *batch {
	if l.out == nil {
		l.out = newBatch(false)
	}
	if l.outFor != ln || l.outN+replies > batchSize {
		l.flushReplies()
		l.outFor = ln
	}
	return l.out
}

// flushReplies sends the answers from the virtual address.
func (l *loop) flushReplies() {
	if l.outN > 0 {
		l.sendReplies()
		l.outN = 0
	}
}

func (l *loop) sendReplies() {
	o := &l.out.out
	for i := 0; i < o.n; {
		n, e := o.send(l.outFor.fd, i)
		i += n
		if e == noErr {
			continue
		}
		if it := &o.items[i]; it.count > 1 && refusesTrain(e) {
			if f := l.flows.at(it.flow.index); f.gen == it.flow.gen {
				f.limits[client] = it.narrower(e)
			}
			l.errs.dropped.Add(o.sendApart(l.outFor.fd, i))
		} else {
			l.errs.dropped.Add(uint64(it.count))
		}
		i++
	}
	o.clear()
}
