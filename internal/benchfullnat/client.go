package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// load is a kind of traffic.
type load struct {
	name   string
	kind   string // short alive bulk echo
	conns  int
	window int // datagrams on the way
	port   int
	unit   string
}

var allLoads = []load{
	{"idle", "alive", 4000, 0, portAlive, "idle connection"}, // first: memory once used is not given back
	{"short", "short", 64, 0, portShort, "connection"},
	{"alive64", "alive", 64, 0, portAlive, "request"},
	{"alive1000", "alive", 1000, 0, portAlive, "request"},
	{"bulk1", "bulk", 1, 0, portBulk, "MB"},
	{"bulk16", "bulk", 16, 0, portBulk, "MB"},
	{"udp64", "echo", 64, 4, portEcho, "round trip"},
	{"udp1000", "echo", 1000, 1, portEcho, "round trip"},
}

// result is what a client did.
type result struct {
	Units, Errors float64
	P50, P99      time.Duration
}

type client struct {
	*poller
	load
	to      netip.AddrPort
	units   float64
	errors  float64
	started []time.Time // by descriptor
	pending []int8      // by descriptor: sent and not answered
	times   []time.Duration
	chunk   []byte
	ready   bool // traffic counts
}

// beClient makes a load and prints its result. It opens its connections and
// warms up before it prints that it is ready and waits for a byte.
func beClient(l load, to netip.AddrPort, length time.Duration) error {
	p, err := newPoller()
	if err != nil {
		return err
	}
	c := &client{poller: p, load: l, to: to, started: make([]time.Time, 1<<16), pending: make([]int8, 1<<16), chunk: make([]byte, 1<<20)}
	for range l.conns {
		c.connect()
	}
	c.loop(max(min(length/4, 300*time.Millisecond), time.Duration(l.conns)*time.Millisecond/2))
	if _, err := os.Stdout.WriteString("\n"); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	c.ready, c.units, c.errors = true, 0, 0
	c.loop(length)
	slices.Sort(c.times)
	r := result{Units: c.units, Errors: c.errors}
	if n := len(c.times); n > 0 {
		r.P50, r.P99 = c.times[n/2], c.times[n*99/100]
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (c *client) loop(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, ev := range c.wait(50) {
			c.event(int(ev.Fd), ev.Events)
		}
		if c.kind == "echo" {
			c.resend()
		}
	}
}

func (c *client) connect() {
	kind := unix.SOCK_STREAM
	if c.kind == "echo" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := open(kind)
	if err != nil {
		c.errors++
		return
	}
	c.started[fd], c.pending[fd] = time.Now(), 0
	if err := unix.Connect(fd, address(c.to)); err != nil && err != unix.EINPROGRESS {
		c.errors++
		unix.Close(fd)
		return
	}
	if kind == unix.SOCK_DGRAM {
		_ = c.add(fd, unix.EPOLLIN)
		for range c.window {
			c.ask(fd)
		}
		return
	}
	_ = c.add(fd, unix.EPOLLOUT)
}

func (c *client) ask(fd int) {
	c.started[fd] = time.Now()
	if _, err := unix.Write(fd, c.chunk[:requestSize]); err == nil {
		c.pending[fd]++
	}
}

// resend: datagrams get lost.
func (c *client) resend() {
	now := time.Now()
	for fd := range c.pending {
		if c.pending[fd] > 0 && now.Sub(c.started[fd]) > time.Second {
			c.errors++
			c.pending[fd] = 0
			c.ask(fd)
		}
	}
}

func (c *client) event(fd int, ev uint32) {
	if ev&unix.EPOLLOUT != 0 { // connected
		_ = c.change(fd, unix.EPOLLIN)
		c.ask(fd)
		return
	}
	switch c.kind {
	case "bulk":
		c.drink(fd)
	case "short":
		c.short(fd)
	default:
		c.answered(fd)
	}
}

func (c *client) drink(fd int) {
	for range 8 {
		n, _, err := unix.Recvfrom(fd, c.chunk, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		if err != nil || n == 0 {
			if err != unix.EAGAIN {
				c.again(fd)
			}
			return
		}
		c.units += float64(n) / 1e6
	}
}

func (c *client) again(fd int) {
	c.errors++
	unix.Close(fd)
	c.connect()
}

func (c *client) short(fd int) {
	n, err := unix.Read(fd, c.chunk[:4096])
	switch {
	case err == unix.EAGAIN || err == nil && n > 0 && n != answerSize:
	case err != nil:
		c.again(fd)
	case n == answerSize: // the end follows
		c.pending[fd] = 0
	case c.pending[fd] != 0:
		c.again(fd)
	default:
		c.done(fd)
		unix.Close(fd)
		c.connect()
	}
}

func (c *client) answered(fd int) {
	n, err := unix.Read(fd, c.chunk[:4096])
	if err == unix.EAGAIN {
		return
	}
	if err != nil || n == 0 {
		c.again(fd)
		return
	}
	c.done(fd)
	c.pending[fd]--
	c.ask(fd)
}

func (c *client) done(fd int) {
	c.units++
	if c.ready {
		c.times = append(c.times, time.Since(c.started[fd]))
	}
}
