package fullnat

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// replies is how many answers of one session are taken at a time, if it has had
// several.
const replies = 16

// talks notes that there is an answer to a session.
func (l *loop) talks(f *flow) {
	at := f.at
	if len(at.talkers) == 0 {
		l.talking = append(l.talking, at)
	}
	at.talkers = append(at.talkers, ref{index: f.index, gen: f.gen})
}

// answers takes what servers sent in answer to the clients of each virtual, and
// sends it to them, where there is io_uring by one call each for many sessions.
// What is left of a session's epoll reports again in the next round: a server
// may send faster than anybody can pass on.
func (l *loop) answers() {
	for _, at := range l.talking {
		l.answersOf(at)
		at.talkers = at.talkers[:0]
	}
	l.talking = l.talking[:0]
}

func (l *loop) answersOf(at *virtual) {
	if l.out == nil {
		l.out = newBatch(false)
	}
	l.takeOnes(at)
	for _, r := range at.talkers {
		if f := l.flows.at(r.index); f.gen == r.gen && f.fd >= 0 && f.answered != l.round {
			l.takeSome(f)
		}
	}
	l.flushReplies(at)
}

// takeOnes takes one answer of each session that most likely has no more: most
// have one for each request, and to ask for a second one costs as much as half
// of what the first did.
func (l *loop) takeOnes(at *virtual) {
	b, ring := l.out, l.tray.ring
	if ring == nil || l.tray.noControl || len(at.talkers) < 2 {
		return
	}
	for _, r := range at.talkers {
		f := l.flows.at(r.index)
		if f.gen != r.gen || f.fd < 0 || f.several(l.round) {
			continue
		}
		f.answered = l.round
		b.owners[l.outN] = r
		ring.receiveMessage(f.fd, &b.msgs[l.outN].hdr, l.outN)
		if l.outN++; l.outN == batchSize {
			l.takeTogether()
			l.flushReplies(at)
		}
	}
	l.takeTogether()
}

// several tells whether a session may have more than one answer: it had last
// time, or there is one again already.
func (f *flow) several(round uint64) bool { return f.many || f.answered+1 == round }

// takeTogether receives into all places so far by one system call.
func (l *loop) takeTogether() {
	b, ring := l.out, l.tray.ring
	n := l.outN
	if n == 0 {
		return
	}
	did := ring.submit(n)
	for i, res, ok := ring.result(); ok; i, res, ok = ring.result() {
		b.msgs[i].n = uint32(res)
	}
	for i := range n {
		f, res := l.flows.at(b.owners[i].index), int32(b.msgs[i].n)
		switch {
		case i >= did || res == -int32(unix.EINVAL):
			l.tray.noControl = l.tray.noControl || i < did
			n, e := b.receive(f.fd, i, 1)
			l.took(f, i, n, e)
		case res < 0:
			l.took(f, i, 0, syscall.Errno(-res))
		default:
			b.filled(i)
			l.took(f, i, 1, noErr)
		}
	}
}

// takeSome takes some answers of one session.
func (l *loop) takeSome(f *flow) {
	want := 1
	if f.several(l.round) {
		want = replies
	}
	if l.outN+want > batchSize {
		l.flushReplies(f.at)
	}
	n, e := l.out.receive(f.fd, l.outN, want)
	f.answered, f.many = l.round, n > 1
	l.took(f, l.outN, n, e)
	l.outN += n
}

// took puts the answers in n places from the given one on into the outbox. An
// error is what became of a datagram that was sent, by ICMP; there may be answers
// behind it.
func (l *loop) took(f *flow, from, n int, e syscall.Errno) {
	switch {
	case e == noErr:
		f.last = l.sec
		l.reply(f, int32(from), int32(n))
	case e == unix.ECONNREFUSED && f.hold.Server() != nil:
		l.refusedFlow(f)
	case e == unix.ECONNREFUSED: // one-packet
		f.dst.shares[l.id].failed.Add(1)
	}
}

// reply puts the answers in n places into the outbox.
func (l *loop) reply(f *flow, from, n int32) {
	var count, bytes uint64
	for i := from; i < from+n; i++ {
		l.out.next[i] = theEnd.place
		for at := (cursor{place: i}); at != theEnd; {
			if l.out.out.full() {
				l.sendReplies(f.at)
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

// flushReplies sends the answers from the virtual address.
func (l *loop) flushReplies(at *virtual) {
	l.sendReplies(at)
	l.outN = 0
}

func (l *loop) sendReplies(at *virtual) {
	o := &l.out.out
	for i := l.sendTogether(at); i < o.n; {
		n, e := o.send(at.fd, i)
		if i += n; e != noErr {
			l.replyFailed(at, i, e)
			i++
		}
	}
	o.clear()
}

// sendTogether sends answers up to the first train by one system call, which
// costs less than one of messages does; with trains it does not. It returns how
// many it has dealt with.
func (l *loop) sendTogether(at *virtual) (n int) {
	o, ring := &l.out.out, l.tray.ring
	if ring == nil {
		return 0
	}
	for n < o.n && o.items[n].count == 1 {
		n++
	}
	if n < 2 {
		return 0
	}
	for i := range n {
		ring.sendTo(at.fd, o.first(i), &o.peers[i], i)
	}
	n = ring.submit(n)
	for i, res, ok := ring.result(); ok; i, res, ok = ring.result() {
		l.replyFailed(at, i, syscall.Errno(-res))
	}
	return n
}

// replyFailed deals with message i, which the socket has not taken. What cannot be
// sent is dropped, as a network would.
func (l *loop) replyFailed(at *virtual, i int, e syscall.Errno) {
	o := &l.out.out
	it := &o.items[i]
	if it.count == 1 || !refusesTrain(e) {
		l.errs.dropped.Add(uint64(it.count))
		return
	}
	if f := l.flows.at(it.flow.index); f.gen == it.flow.gen {
		f.limits[client] = it.narrower(e)
	}
	l.errs.dropped.Add(o.sendApart(at.fd, i))
}
