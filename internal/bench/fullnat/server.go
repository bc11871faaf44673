package main

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// answerSize is what a request is answered with; requestSize what it has.
const (
	answerSize  = 145
	requestSize = 64
	// trainSize is what a datagram is answered with that begins with requestTrain:
	// datagrams like those of QUIC, sent by one call as QUIC's servers do.
	trainSize = 40 * 1200
)

const (
	requestOne   = 0
	requestTrain = 1
)

type origin struct {
	*poller
	listeners map[int]int // port kind by descriptor
	kinds     []int8      // by descriptor, -1 closed
	echo      int
	chunk     []byte
}

// beServer serves all kinds at an address, for ever.
func beServer(at netip.Addr) error {
	p, err := newPoller()
	if err != nil {
		return err
	}
	o := &origin{poller: p, listeners: map[int]int{}, kinds: make([]int8, 1<<16), chunk: make([]byte, 256<<10)}
	for kind := range portEcho {
		fd, err := listen(netip.AddrPortFrom(at, uint16(serverBase+kind)))
		if err != nil {
			return err
		}
		o.listeners[fd] = kind
		if err := p.add(fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
	if o.echo, err = open(unix.SOCK_DGRAM); err != nil {
		return err
	}
	_ = unix.SetsockoptInt(o.echo, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	if err := unix.Bind(o.echo, address(netip.AddrPortFrom(at, serverBase+portEcho))); err != nil {
		return err
	}
	if err := p.add(o.echo, unix.EPOLLIN); err != nil {
		return err
	}
	for {
		for _, ev := range p.wait(10 * time.Millisecond) {
			o.event(int(ev.Fd), ev.Events)
		}
	}
}

func (o *origin) event(fd int, ev uint32) {
	kind, listening := o.listeners[fd]
	switch {
	case fd == o.echo:
		o.reply()
	case listening:
		o.accept(fd, kind)
	default:
		o.serve(fd, ev)
	}
}

func (o *origin) reply() {
	var from unix.RawSockaddrInet4
	for range 64 {
		n, e := receiveFrom(o.echo, o.chunk, &from)
		if e != 0 {
			return
		}
		if o.chunk[0] == requestTrain {
			_ = sendTrain(o.echo, o.chunk[:trainSize], 1200, &from)
			continue
		}
		_ = sendTo(o.echo, o.chunk[:n], &from)
	}
}

func (o *origin) accept(fd, kind int) {
	for range 64 {
		c := accept(fd)
		if c < 0 {
			return
		}
		_ = unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		o.kinds[c] = int8(kind)
		_ = o.add(c, unix.EPOLLIN)
	}
}

func (o *origin) serve(fd int, ev uint32) {
	if ev&unix.EPOLLIN != 0 {
		n, e := receive(fd, o.chunk[:4096], 0)
		if e == 0 && n == 0 || e != 0 && e != unix.EAGAIN {
			shut(fd)
			return
		}
		switch o.kinds[fd] {
		case portShort:
			_, _ = send(fd, o.chunk[:answerSize])
			shut(fd)
			return
		case portAlive:
			_, _ = send(fd, o.chunk[:answerSize])
			return
		}
		_ = o.change(fd, unix.EPOLLOUT|unix.EPOLLRDHUP)
	}
	if ev&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0 {
		shut(fd)
		return
	}
	for range 8 {
		if n, e := send(fd, o.chunk); e != 0 || n < len(o.chunk) {
			return
		}
	}
}
