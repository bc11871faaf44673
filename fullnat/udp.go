package fullnat

import (
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// replies is how many answers of one flow are taken at a time.
const replies = 8

// receive takes a batch of datagrams that came to a service and sends each to
// its flow's server.
func (l *loop) receive(ln *listener) {
	if l.in == nil {
		l.in = newBatch()
	}
	b := l.in
	n, _ := b.receive(ln.fd, 0, batchSize, true)
	set := ln.svc.settings.Load()
	for i := 0; i < n; {
		i += l.forward(ln, set, i, n)
	}
	for i := range n {
		b.room(i)
		b.prefix(i, 0)
	}
}

// forward sends datagram i, and those after it that come from the same client,
// and returns how many those are.
func (l *loop) forward(ln *listener, set *settings, i, n int) int {
	b := l.in
	f := l.flowFor(ln, &b.peers[i], set)
	if f == nil {
		l.errs.dropped.Add(1)
		return 1
	}
	run := 1
	for ; i+run < n && !set.onePacket; run++ {
		if b.peers[i+run].plain(); b.peers[i+run] != b.peers[i] {
			break
		}
	}
	for k := i; k < i+run; k++ {
		b.name(k, false)
	}
	l.introduceFlow(f, set, i)
	l.sendRun(f, set, i, run)
	return run
}

// introduceFlow puts the PROXY header before a flow's first datagram, and before
// each one where a datagram is scheduled by itself.
func (l *loop) introduceFlow(f *flow, set *settings, i int) {
	if set.proxy != ProxyV2 || f.opened && !set.onePacket {
		return
	}
	f.opened = true
	if set.trusts(&f.client) && l.in.introduced(i) {
		return
	}
	head := AppendProxyHeader(l.in.heads[i][:0], ProxyV2, ipvs.UDP, f.client.unscoped(), f.ln.svc.key.Addr)
	l.in.prefix(i, len(head))
}

// sendRun sends datagrams of one flow. One that the socket does not take is
// dropped, as a network would.
func (l *loop) sendRun(f *flow, set *settings, i, run int) {
	f.last = l.sec
	moved, told := false, false
	for end := i + run; i < end; {
		n, e := l.in.send(f.fd, i, end-i)
		for k := i; k < i+n; k++ {
			f.dst.shares[l.id].datagramIn(l.in.parts[k][1].Len)
		}
		i += n
		switch {
		case e == noErr:
		case e == unix.ECONNREFUSED && !set.onePacket && !moved:
			moved = true
			if l.refusedFlow(f); !l.assign(f, set) {
				l.errs.dropped.Add(uint64(end - i))
				return
			}
			l.introduceFlow(f, set, i)
		case e == unix.ECONNREFUSED && !moved: // of an earlier one; this one was not sent
			moved = true
			f.dst.shares[l.id].failed.Add(1)
		case e == unix.EMSGSIZE && !told: // likewise: the path has become narrower, and what follows is sent in fragments
			told = true
		default:
			l.errs.dropped.Add(1)
			i++
		}
	}
}

// answer takes what a server sent to a flow's client, to be sent with that of
// other flows.
func (l *loop) answer(f *flow) {
	for told := false; ; {
		b := l.room(f.ln)
		n, e := b.receive(f.fd, l.outN, replies, false)
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
		for i := l.outN; i < l.outN+n; i++ {
			b.peers[i] = f.client
			b.name(i, true)
			b.msgs[i].hdr.Namelen = f.client.len
			f.dst.shares[l.id].datagramOut(b.parts[i][1].Len)
		}
		l.outN += n
		f.last = l.sec
		if n < replies {
			return
		}
	}
}

// room returns the outgoing batch with place for a few datagrams of a service.
func (l *loop) room(ln *listener) *batch {
	if l.out == nil {
		l.out = newBatch()
	}
	if l.outFor != ln || l.outN+replies > batchSize {
		l.flushReplies()
		l.outFor = ln
	}
	return l.out
}

// flushReplies sends the answers from the virtual address.
func (l *loop) flushReplies() {
	for i := 0; i < l.outN; {
		n, e := l.out.send(l.outFor.fd, i, l.outN-i)
		if e != noErr {
			l.errs.dropped.Add(1)
			n = 1
		}
		i += n
	}
	for i := range l.outN {
		l.out.room(i)
	}
	l.outN = 0
}
