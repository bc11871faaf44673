package fullnat_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

var soak = flag.Duration("soak", 2*time.Second, "how long TestSoak runs")

// Random traffic with random faults: clients and servers that stop, reset,
// half-close, speak first or not at all, while the control plane is busy, too.
// Whatever happens, each end gets what the other one sent, in order; it finds an
// end only where the other one made it and all is there; and where neither end
// gives up, nothing goes wrong. In the end nothing is left.
func TestSoak(t *testing.T) {
	n := newNetwork()
	w := &world{t: t}
	e := start(t, fullnat.Config{Loops: 2})
	services := make([]fullnat.Service, 3)
	cut, introducing := &services[0], &services[1]
	for i := range services {
		var servers []*server
		for range 4 {
			servers = append(servers, serveTCP(t, n.addr(byte(11+i)), func(c *net.TCPConn) { w.serve(c, &services[i] == introducing, &services[i] == cut) }))
		}
		services[i] = tcpService(t, n.addr(byte(1+i)), "wlc", servers...)
	}
	introducing.Options = fullnat.Options{ProxyProtocol: fullnat.ProxyV1, Locals: n.locals(4)}
	apply(t, e, services...)
	files := openFiles(t)
	over := time.Now().Add(*soak)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for time.Now().Before(over) && !t.Failed() {
				s := &services[rand.IntN(len(services))]
				w.call(s.Addr, s == cut)
			}
		})
	}
	wg.Go(func() { // and somebody looks on
		for time.Now().Before(over) {
			e.Connections()
			e.State()
			e.Services()
			time.Sleep(time.Millisecond)
		}
	})
	for i := 0; time.Now().Before(over); i++ {
		meddle(t, e, services, i)
		time.Sleep(5 * time.Millisecond)
	}
	apply(t, e, services...)
	wg.Wait()
	t.Logf("%d connections: %d of two ends that did not give up, %d ends that were found; errors %+v", w.calls.Load(), w.whole.Load(), w.found.Load(), e.Errors())
	eventually(t, "all connections end", func() bool { return e.Conns() == 0 })
	checkEmpty(t, e)
	eventually(t, "all descriptors are closed", func() bool { return openFiles(t) <= files+2*2*32 }) // pipes are kept
}

// meddle is the control plane at work: weights, removals, of the first service
// with cutting and of it as a whole, pauses, and connections that are moved
// from loop to loop.
func meddle(t *testing.T, e *fullnat.Engine, services []fullnat.Service, i int) {
	var want []fullnat.Service
	for k, s := range services {
		s.Destinations = append([]ipvs.Destination(nil), s.Destinations...)
		s.Destinations[i%4].Weight = int32(i % 3)
		if i%5 == k {
			s.Destinations = s.Destinations[:3]
		}
		s.Options.CutRemoved = k == 0
		if k > 0 || i%17 > 0 {
			want = append(want, s)
		}
	}
	apply(t, e, want...)
	switch i % 6 {
	case 0:
		e.Pause()
		e.Services()
		e.Resume()
	case 1:
		release := e.Hold(i % 2)
		time.Sleep(time.Duration(size(25))) // not a wait: the loop is to find much at once, also what came one after the other
		release()
	case 2:
		e.SetTimeouts(ipvs.Timeouts{TCPFin: time.Duration(2+i%2) * time.Minute})
	default:
		e.Move(i%2, 1-i%2, rand.Float64())
	}
}

// world has the ends of all connections that there were.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	ends  []*end // by name
	calls atomic.Int64
	whole atomic.Int64
	found atomic.Int64 // ends
}

// end is one end of a connection, and what it has done.
type end struct {
	w    *world
	c    *net.TCPConn
	cut  bool // by the control plane, at some time
	name uint64
	plan plan

	sent, got atomic.Int64
	ended     atomic.Bool // nothing comes behind what was sent; there is, or may be, a FIN

	peer *end  // told by the first bytes
	rerr error // of reading; io.EOF
	werr error
}

// plan is what an end is going to do. Each sends so much, in such pieces, with a
// byte of urgent data before the given piece, and reads what the other one sends.
type plan struct {
	send   int64
	piece  int64
	urgent int
	slow   bool
	narrow bool          // its socket takes little at a time
	stall  time.Duration // before it reads
	fault  fault
	after  time.Duration // until the fault
}

type fault int

const (
	none       fault = iota
	resets           // at some time
	resetsLate       // when all was sent, and the end
	closes           // at some time, whatever comes
	mute             // sends nothing and resets
)

// size is anything from 1 to most, with many small ones.
func size(most int) int64 { return 1 + rand.Int64N(1<<rand.IntN(most)) }

func newPlan() plan {
	p := plan{send: 8 + size(22), piece: size(20), urgent: -1, slow: rand.IntN(8) == 0, narrow: rand.IntN(4) == 0, after: time.Duration(size(28))}
	p.piece = max(p.piece, p.send/1000)
	if rand.IntN(16) == 0 {
		p.urgent = rand.IntN(32)
	}
	if rand.IntN(4) == 0 {
		p.stall = time.Duration(size(28))
	}
	if rand.IntN(2) == 0 {
		p.fault = fault(1 + rand.IntN(4))
	}
	return p
}

// noise is what all streams are of: each begins at another place.
var noise = func() []byte {
	b := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b)
	return append(b, b...)
}()

// part is what the stream of an end has from a place on, at most n bytes of it.
// It begins with the end's name.
func part(name uint64, from, n int64) []byte {
	if from < 8 {
		return binary.BigEndian.AppendUint64(nil, name)[from:min(from+n, 8)]
	}
	at := (int64(name*7919) + from) & (1<<20 - 1)
	return noise[at : at+min(n, 1<<20)]
}

func (w *world) newEnd(c *net.TCPConn, cut bool) *end {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &end{w: w, c: c, cut: cut, name: uint64(len(w.ends)), plan: newPlan()}
	w.ends = append(w.ends, e)
	return e
}

func (w *world) end(name uint64) *end {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name >= uint64(len(w.ends)) {
		return nil
	}
	return w.ends[name]
}

func (w *world) serve(c *net.TCPConn, introduced, cut bool) {
	w.newEnd(c, cut).run(func() (io.Reader, error) {
		if !introduced {
			return c, nil
		}
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err == nil && (!strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 ") || !strings.HasSuffix(line, "\r\n")) {
			w.t.Errorf("a connection begins with %q", line)
		}
		return r, err
	})
}

// call is a client's connection. Where connections are cut the service may be
// gone, too.
func (w *world) call(to netip.AddrPort, cut bool) {
	w.calls.Add(1)
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		if !cut && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) { // of a server that resets at once
			w.t.Errorf("connect: %v", err)
		}
		return
	}
	w.newEnd(c.(*net.TCPConn), cut).run(func() (io.Reader, error) { return c, nil })
}

// run does what is planned and reads what comes.
func (e *end) run(open func() (io.Reader, error)) {
	e.c.SetDeadline(time.Now().Add(patience))
	if e.plan.narrow {
		e.c.SetReadBuffer(128 << 10) // less than some of loopback's segments of 64 KiB is a stream that crawls
		e.c.SetWriteBuffer(16 << 10)
	}
	switch e.plan.fault {
	case mute:
		e.c.SetLinger(0)
		e.c.Close()
		return
	case resets:
		e.c.SetLinger(0)
		defer time.AfterFunc(e.plan.after, func() { e.c.Close() }).Stop()
	case closes:
		defer time.AfterFunc(e.plan.after, func() { e.c.SetWriteDeadline(time.Now()) }).Stop()
	}
	wrote := make(chan bool)
	go func() {
		e.write()
		close(wrote)
	}()
	r, err := open()
	if e.rerr = err; err == nil {
		e.read(r)
	}
	if !errors.Is(e.rerr, io.EOF) {
		e.c.SetLinger(0)
		e.c.Close()
	}
	<-wrote
	e.c.Close()
	e.judge()
}

// judge says whether it ended as it should. An end that was found says nothing
// where a write has failed: it takes the error, which a read would have found.
func (e *end) judge() {
	p := e.peer
	switch {
	case p == nil:
		if e.werr == nil && (errors.Is(e.rerr, io.EOF) || errors.Is(e.rerr, io.ErrUnexpectedEOF)) {
			e.w.t.Errorf("a clean end after less than any end has sent\n%s", e)
		}
		return
	case !e.cut && e.plan.fault == none && p.plan.fault == none:
		e.w.whole.Add(1)
		if !errors.Is(e.rerr, io.EOF) || e.werr != nil {
			e.w.t.Errorf("neither end gave up: read %v, write %v\n%s\n%s", e.rerr, e.werr, e, p)
		}
	}
	if !errors.Is(e.rerr, io.EOF) || e.werr != nil {
		return
	}
	e.w.found.Add(1)
	if ended, sent := p.ended.Load(), p.sent.Load(); !ended || sent != e.got.Load() {
		e.w.t.Errorf("a clean end after %d bytes, of %d that were sent; ended: %v\n%s\n%s", e.got.Load(), sent, ended, e, p)
	}
}

func (e *end) write() {
	for i := 0; e.sent.Load() < e.plan.send && e.werr == nil; i++ {
		if i == e.plan.urgent {
			e.werr = sendUrgent(e.c)
		}
		if b := part(e.name, e.sent.Load(), min(e.plan.piece, e.plan.send-e.sent.Load())); e.werr == nil {
			var n int
			n, e.werr = e.c.Write(b)
			e.sent.Add(int64(n))
		}
		if e.plan.slow {
			pause()
		}
	}
	switch {
	case e.plan.fault == closes && (e.werr == nil || errors.Is(e.werr, os.ErrDeadlineExceeded)):
		if e.ended.Store(true); e.sent.Load() < 8 {
			e.c.SetLinger(0)
		}
		e.c.Close()
	case e.werr != nil || e.plan.fault == resets:
	case e.plan.fault == resetsLate:
		e.ended.Store(true)
		e.c.CloseWrite()
		e.c.SetLinger(0)
		e.c.Close()
	default:
		e.ended.Store(true)
		e.werr = e.c.CloseWrite()
	}
}

// read checks what comes: that it is what the other end sent, and all of it if
// there is an end.
func (e *end) read(r io.Reader) {
	var first [8]byte
	if _, e.rerr = io.ReadFull(r, first[:]); e.rerr != nil {
		return
	}
	p := e.w.end(binary.BigEndian.Uint64(first[:]))
	if p == nil {
		e.w.t.Errorf("begins with %x, no end's name", first)
		return
	}
	e.peer = p
	e.got.Add(8)
	time.Sleep(e.plan.stall) // not a wait: what an end does that is slow
	for b := make([]byte, 256+size(18)); e.rerr == nil; {
		var n int
		n, e.rerr = r.Read(b)
		if !e.takes(b[:n]) {
			e.w.t.Errorf("other bytes than were sent, after %d\n%s\n%s", e.got.Load(), e, p)
			e.rerr = errOthers
		}
		if e.plan.slow {
			pause()
		}
	}
}

// takes tells whether bytes are the next ones of the peer's stream.
func (e *end) takes(b []byte) bool {
	for len(b) > 0 {
		want := part(e.peer.name, e.got.Load(), int64(len(b)))
		if !bytes.HasPrefix(b, want) {
			return false
		}
		b = b[len(want):]
		e.got.Add(int64(len(want)))
	}
	return true
}

func (e *end) String() string {
	return fmt.Sprintf("end %d of %v: %+v, sent %d, got %d", e.name, e.c.LocalAddr(), e.plan, e.sent.Load(), e.got.Load())
}
