package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// load is a kind of traffic.
type load struct {
	name   string
	kind   string // short alive bulk echo trains
	count  int
	window int // requests of a connection that may be on the way
	rate   int // requests a second of all connections; 0 is as many as there are answers
	port   int
	unit   string
}

var allLoads = []load{
	{"idle", "alive", 4000, 1, 0, portAlive, "idle connection"}, // first: memory once used is not given back
	{"short", "short", 64, 0, 0, portShort, "connection"},
	{"alive64", "alive", 64, 1, 0, portAlive, "request"},
	{"alive1000", "alive", 1000, 1, 0, portAlive, "request"},
	{"paced1000", "alive", 1000, 1, 20000, portAlive, "request"},
	{"bulk1", "bulk", 1, 0, 0, portBulk, "MB"},
	{"bulk16", "bulk", 16, 0, 0, portBulk, "MB"},
	{"udp64", "echo", 64, 4, 0, portEcho, "round trip"},
	{"udp1000", "echo", 1000, 1, 0, portEcho, "round trip"},
	{"udpbulk", "trains", 16, 1, 0, portEcho, "MB"},
}

func (l load) datagrams() bool { return l.kind == "echo" || l.kind == "trains" }

// result is what a client did in one slice.
type result struct {
	Units, Errors float64
	P50, P99      time.Duration
}

type client struct {
	*poller
	load
	to      netip.AddrPort
	conns   []peer    // by descriptor
	waiting int       // answers
	asking  bool      // an answer leads to a new request
	free    []int     // connections that wait for a request of a load with a rate
	due     time.Time // of the next such request
	units   float64
	errors  float64
	times   []time.Duration
	chunk   []byte
	top     int       // above all descriptors
	looked  time.Time // for requests that are lost
	work    chan func(*client)
}

// peer is one of the client's connections.
type peer struct {
	state   int8
	pending int8 // requests without an answer
	got     int  // bytes of a train
	asked   time.Time
	sent    time.Time // that, or when it was asked again
}

const (
	gone = iota
	connecting
	connected
)

const (
	// drain is how long answers are waited for at the end of a slice.
	drain = 250 * time.Millisecond
	// runIn is how long streams run before a slice.
	runIn = 200 * time.Millisecond
	// resend is when datagrams are given up and asked for again, as otherwise a
	// proxy that loses them would soon have fewer clients than the others.
	resend = 250 * time.Millisecond
)

// beClient makes a load for the length of a slice each time that it reads a
// byte, and prints a line when it begins and one with what came of it. Its
// connections stay open between slices, but for short ones. The very first line
// is of a slice to warm up.
func beClient(l load, to netip.AddrPort, length time.Duration, threads int) error {
	crew, err := newCrew(l, to, threads)
	if err != nil {
		return err
	}
	crew.each(func(c *client) {
		if l.kind != "short" {
			for range c.count {
				c.connect()
			}
		}
		c.slice(max(min(length, 300*time.Millisecond), time.Duration(c.count)*time.Millisecond/2))
	})
	for {
		if err := json.NewEncoder(os.Stdout).Encode(crew.result()); err != nil {
			return err
		}
		if n, _ := os.Stdin.Read(make([]byte, 1)); n == 0 {
			return nil
		}
		if l.kind == "bulk" { // what the buffers hold from the slice before does not count
			crew.each(func(c *client) { c.loop(runIn, func() bool { return true }) })
		}
		if _, err := os.Stdout.WriteString("{}\n"); err != nil {
			return err
		}
		crew.each(func(c *client) { c.slice(length) })
	}
}

// crew are the threads of a client, which share a load. Several are tied to a CPU
// each, so that packets come in on all of them, as they do from a network card
// with a queue for each.
type crew []*client

func newCrew(l load, to netip.AddrPort, threads int) (crew, error) {
	n := min(threads, l.count)
	all := make(crew, n)
	for i := range all {
		p, err := newPoller()
		if err != nil {
			return nil, err
		}
		share := l
		share.count, share.rate = l.count*(i+1)/n-l.count*i/n, l.rate/n
		all[i] = &client{poller: p, load: share, to: to, conns: make([]peer, 1<<16), chunk: make([]byte, 1<<20), asking: true, work: make(chan func(*client))}
		go all[i].labour(i, n > 1)
	}
	return all, nil
}

// labour does what each asks for, in a thread on the i-th CPU if it is tied.
func (c *client) labour(i int, tied bool) {
	if tied {
		runtime.LockOSThread()
		var one unix.CPUSet
		one.Set(i % runtime.NumCPU())
		_ = unix.SchedSetaffinity(0, &one)
	}
	for f := range c.work {
		f(c)
	}
}

// each has all of the crew do something at once, and waits for them.
func (all crew) each(f func(*client)) {
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Add(1)
		c.work <- func(c *client) { f(c); wg.Done() }
	}
	wg.Wait()
}

func (all crew) result() (r result) {
	var times []time.Duration
	for _, c := range all {
		r.Units += c.units
		r.Errors += c.errors
		times = append(times, c.times...)
	}
	slices.Sort(times)
	if n := len(times); n > 0 {
		r.P50, r.P99 = times[n/2], times[n*99/100]
	}
	return r
}

// slice makes the load for a time, then waits for the answers that are due, so
// that what a proxy does for a slice is over with it.
func (c *client) slice(length time.Duration) {
	c.asking, c.units, c.errors, c.times, c.free, c.due = true, 0, 0, c.times[:0], c.free[:0], time.Now()
	c.begin()
	c.loop(length, func() bool { return true })
	c.asking = false
	c.loop(drain, func() bool { return c.waiting > 0 })
	if c.datagrams() { // which get lost
		for fd := range c.conns[:c.top] {
			p := &c.conns[fd]
			for ; p.pending > 0; p.pending-- {
				c.errors++
				c.times = append(c.times, time.Since(p.asked))
			}
		}
		c.waiting = 0
	}
}

func (c *client) begin() {
	if c.kind == "short" {
		for n := c.waiting; n < c.count; n++ {
			c.connect()
		}
		return
	}
	for fd := range c.conns {
		if p := &c.conns[fd]; p.state == connected && p.pending == 0 && c.kind != "bulk" {
			c.next(fd)
		}
	}
}

func (c *client) loop(length time.Duration, on func() bool) {
	for end := time.Now().Add(length); on() && time.Now().Before(end); {
		for _, ev := range c.wait(c.pace()) {
			c.event(int(ev.Fd))
		}
		if now := time.Now(); c.datagrams() && c.asking && now.Sub(c.looked) > resend/10 {
			c.looked = now
			c.resend(now)
		}
	}
}

// next has a connection ask again: at once, or when its turn comes.
func (c *client) next(fd int) {
	if c.rate > 0 {
		c.free = append(c.free, fd)
	} else {
		c.ask(fd)
	}
}

// pace makes the requests that are due, by connections at random, at times as
// independent clients have them. A request that finds no connection waits, and
// its time counts from when it was due. pace returns how long to wait for the
// next one.
func (c *client) pace() time.Duration {
	const most = 10 * time.Millisecond
	if c.rate == 0 || !c.asking {
		return most
	}
	for now := time.Now(); len(c.free) > 0; {
		if wait := c.due.Sub(now); wait > 0 {
			return min(wait, most)
		}
		i, last := rand.IntN(len(c.free)), len(c.free)-1
		fd := c.free[i]
		c.free[i] = c.free[last]
		c.free = c.free[:last]
		if p := &c.conns[fd]; p.state == connected && p.pending == 0 { // it may have broken meanwhile
			c.ask(fd)
			p.asked = c.due
			c.due = c.due.Add(time.Duration(rand.ExpFloat64() * float64(time.Second) / float64(c.rate)))
		}
	}
	return most
}

// resend asks again where an answer is overdue. Its time counts from the first
// question.
func (c *client) resend(now time.Time) {
	for fd := range c.conns[:c.top] {
		p := &c.conns[fd]
		if p.pending == 0 || now.Sub(p.sent) < resend {
			continue
		}
		p.sent, p.got = now, 0
		for range p.pending {
			c.errors++
			_, _ = send(fd, c.chunk[:requestSize])
		}
	}
}

func (c *client) connect() {
	kind := unix.SOCK_STREAM
	if c.datagrams() {
		kind = unix.SOCK_DGRAM
	}
	fd, err := open(kind)
	if err != nil {
		c.errors++
		return
	}
	if err := unix.Connect(fd, address(c.to)); err != nil && err != unix.EINPROGRESS {
		c.errors++
		unix.Close(fd)
		return
	}
	c.conns[fd] = peer{state: connecting, asked: time.Now()}
	c.top = max(c.top, fd+1)
	if kind == unix.SOCK_DGRAM {
		if c.kind == "trains" {
			takeTrains(fd)
		}
		c.conns[fd].state = connected
		_ = c.add(fd, unix.EPOLLIN)
		return
	}
	if c.kind == "short" {
		c.waiting++ // for the connection, and its time is from here
	}
	_ = c.add(fd, unix.EPOLLOUT)
}

// ask sends as many requests as may be on the way.
func (c *client) ask(fd int) {
	p := &c.conns[fd]
	p.asked = time.Now()
	p.sent, p.got = p.asked, 0
	c.chunk[0] = requestOne
	if c.kind == "trains" {
		c.chunk[0] = requestTrain
	}
	for int(p.pending) < c.window {
		if _, e := send(fd, c.chunk[:requestSize]); e != 0 {
			return
		}
		p.pending++
		c.waiting++
	}
}

func (c *client) event(fd int) {
	switch p := &c.conns[fd]; {
	case p.state == connecting:
		p.state = connected
		_ = c.change(fd, unix.EPOLLIN)
		if c.kind == "short" || c.kind == "bulk" {
			_, _ = send(fd, c.chunk[:requestSize])
		} else if c.asking {
			c.next(fd)
		}
	case c.kind == "bulk":
		c.drink(fd)
	case c.kind == "short":
		c.short(fd)
	default:
		c.answered(fd)
	}
}

func (c *client) drink(fd int) {
	for range 8 {
		n, e := receive(fd, c.chunk, unix.MSG_TRUNC)
		if e != 0 || n == 0 {
			if e != unix.EAGAIN {
				c.again(fd)
			}
			return
		}
		c.units += float64(n) / 1e6
	}
}

// again replaces a connection that broke.
func (c *client) again(fd int) {
	c.errors++
	if c.kind != "short" {
		c.waiting -= int(c.conns[fd].pending)
	}
	c.close(fd)
	c.connect()
}

func (c *client) close(fd int) {
	if c.kind == "short" {
		c.waiting--
	}
	c.conns[fd] = peer{}
	shut(fd)
}

// short is of connections that the server closes after its answer.
func (c *client) short(fd int) {
	n, e := receive(fd, c.chunk[:4096], 0)
	switch p := &c.conns[fd]; {
	case e == unix.EAGAIN:
	case e != 0 || n == 0 && p.pending == 0:
		c.again(fd)
	case n > 0:
		p.pending = 1 // answered: the end follows
	default:
		c.units++
		c.times = append(c.times, time.Since(p.asked))
		p.pending = 0
		c.close(fd)
		if c.asking {
			c.connect()
		}
	}
}

func (c *client) answered(fd int) {
	n, e := receive(fd, c.chunk[:1<<16], 0)
	p := &c.conns[fd]
	switch {
	case e == unix.EAGAIN:
		return
	case e != 0 || n == 0:
		c.again(fd)
		return
	case p.pending == 0: // a datagram that was given up
		return
	}
	if c.kind == "trains" {
		c.units += float64(n) / 1e6
		if p.got += n; p.got < trainSize {
			return
		}
	} else {
		c.units++
	}
	c.times = append(c.times, time.Since(p.asked))
	p.pending--
	c.waiting--
	if c.asking {
		c.next(fd)
	}
}
