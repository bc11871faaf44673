package fullnat_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"golang.org/x/sys/unix"
)

// through sets up one server behind one service and returns a client's
// connection and the server's end of it.
func through(t *testing.T, options fullnat.Options) (*fullnat.Engine, *net.TCPConn, *net.TCPConn) {
	t.Helper()
	n := newNetwork()
	ends := make(chan *net.TCPConn, 1)
	over := make(chan struct{})
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) { ends <- c; <-over })
	t.Cleanup(func() { close(over) })
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", rs)
	s.Options = options
	apply(t, e, s)
	c := dial(t, s.Addr)
	select {
	case end := <-ends:
		end.SetDeadline(time.Now().Add(patience))
		return e, c, end
	case <-time.After(patience):
		t.Fatal("no connection arrived at the server")
		return nil, nil, nil
	}
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write %q: %v", text, err)
	}
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v, want %q", b[:n], err, text)
	}
}

func hearEnd(t *testing.T, c net.Conn, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, error %v, want %v", n, err, want)
	}
}

func TestServerSpeaksFirst(t *testing.T) {
	_, c, rs := through(t, fullnat.Options{})
	say(t, rs, "220 ready")
	hear(t, c, "220 ready")
	say(t, c, "HELO")
	hear(t, rs, "HELO")
}

// A server that speaks first hears soon that the connection is up: the kernel
// would have it wait for 200 ms, in case that the client says something.
func TestGreeting(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), named("220 ready")))
	apply(t, e, s)
	best := time.Hour
	for range 5 {
		began := time.Now()
		ask(t, s.Addr)
		best = min(best, time.Since(began))
	}
	if best > 100*time.Millisecond {
		t.Errorf("the first words took %v at the least", best)
	}
}

// Last words and the end that follows them at once are one packet.
func TestLastWordsWithEnd(t *testing.T) {
	for _, last := range []string{"221 bye", strings.Repeat("bye ", 2000)} {
		e, c, rs := through(t, fullnat.Options{})
		say(t, rs, "220 ready")
		hear(t, c, "220 ready")
		before := segments(t, c)
		e.InLoops(func() { // which looks when both are there
			say(t, rs, last)
			rs.Close()
		})
		hear(t, c, last)
		hearEnd(t, c, io.EOF)
		if got := segments(t, c) - before; got != 1 {
			t.Errorf("%d bytes and the end came in %d segments, want one", len(last), got)
		}
	}
}

// segments is how many a connection has received.
func segments(t *testing.T, c *net.TCPConn) (n uint32) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Segs_in
		}
	}); err != nil || n == 0 {
		t.Fatalf("segments: %d, %v", n, err)
	}
	return n
}

func TestHalfCloseByClient(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	say(t, c, "question")
	c.CloseWrite()
	hear(t, rs, "question")
	hearEnd(t, rs, io.EOF)
	for range 3 { // the server may go on for long
		say(t, rs, "answer")
		hear(t, c, "answer")
	}
	if got := states(e); got != "CLOSE_WAIT" {
		t.Errorf("state %s, want CLOSE_WAIT", got)
	}
	rs.Close()
	hearEnd(t, c, io.EOF)
	eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	if got := states(e); got != "TIME_WAIT" {
		t.Errorf("state %s, want TIME_WAIT", got)
	}
}

func TestHalfCloseByServer(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	say(t, rs, "all I have")
	rs.CloseWrite()
	hear(t, c, "all I have")
	hearEnd(t, c, io.EOF)
	for range 3 {
		say(t, c, "more")
		hear(t, rs, "more")
	}
	if got := states(e); got != "FIN_WAIT" {
		t.Errorf("state %s, want FIN_WAIT", got)
	}
	c.Close()
	hearEnd(t, rs, io.EOF)
	eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
}

// states are those of the listed connections.
func states(e *fullnat.Engine) (s string) {
	for _, c := range e.Connections() {
		s += c.State
	}
	return s
}

func TestResetPassesOn(t *testing.T) {
	for _, from := range []string{"client", "server"} {
		t.Run(from, func(t *testing.T) {
			e, a, b := through(t, fullnat.Options{})
			if from == "server" {
				a, b = b, a
			}
			say(t, a, "last words")
			hear(t, b, "last words")
			a.SetLinger(0)
			a.Close()
			hearEnd(t, b, syscall.ECONNRESET)
			eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
			if got := states(e); got != "CLOSE" {
				t.Errorf("state %s, want CLOSE", got)
			}
		})
	}
}

// A RST must not overtake the bytes that came before it.
func TestBytesBeforeReset(t *testing.T) {
	for _, from := range []string{"client", "server"} {
		t.Run(from, func(t *testing.T) {
			_, a, b := through(t, fullnat.Options{})
			if from == "server" {
				a, b = b, a
			}
			sent := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
			if _, err := a.Write(sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(b, got[:1]); err != nil { // they are on their way
				t.Fatal(err)
			}
			waitSent(t, a)
			a.SetLinger(0)
			a.Close()
			if n, err := io.ReadFull(b, got[1:]); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes of %d before %v", 1+n, len(sent), err)
			}
			hearEnd(t, b, syscall.ECONNRESET)
		})
	}
}

// A reset is passed on as one, also when the loop finds it by what it sends for
// others in between: the write that fails takes the error, and the read after it
// finds what looks like a clean end.
func TestResetAmongOthers(t *testing.T) {
	n := newNetwork()
	const others = 70 // requests of 4 KiB: more than the loop collects before it sends
	ends := make(chan *net.TCPConn, 1+others)
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) {
		ends <- c
		io.Copy(io.Discard, c)
	})
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	c := dial(t, s.Addr)
	end := <-ends
	var busy []*net.TCPConn
	for range others {
		busy = append(busy, dial(t, s.Addr))
		<-ends
	}
	e.InLoops(func() { // all of it is one round
		io.WriteString(c, "request")
		for _, b := range busy {
			b.Write(make([]byte, 4<<10))
		}
		end.SetLinger(0)
		end.Close()
	})
	hearEnd(t, c, syscall.ECONNRESET)
}

// A server that has accepted, answered and reset before the loop hears of any of
// it has not refused: its client gets the answer, and the reset after it. One that
// has said nothing is as one that refused, and another one is asked.
func TestResetAsSoonAsAccepted(t *testing.T) {
	for name, answer := range map[string]string{"silent": "", "answers": "busy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork()
			fd, hasty := listenRaw(t, n.addr(11), 1)
			e := start(t, fullnat.Config{Loops: 1})
			other := serveTCP(t, n.addr(12), named("other"))
			s := tcpService(t, n.addr(1), "rr", other, other)
			s.Destinations[1].Addr = hasty // the one that is asked first
			apply(t, e, s)
			var c *net.TCPConn
			e.AsConnected(func() { c = dial(t, s.Addr) }, func() {
				// The kernel acknowledges the handshake after a while, if nobody else does.
				a, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
				if err != nil {
					t.Error(err)
				}
				syscall.Write(a, []byte(answer))
				syscall.SetsockoptLinger(a, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
				syscall.Close(a)
			})
			want := [2]uint64{0, 1} // failures and connections of the hasty one
			if answer == "" {
				hear(t, c, "other")
				hearEnd(t, c, io.EOF)
				want = [2]uint64{1, 0}
			} else {
				hear(t, c, answer)
				hearEnd(t, c, syscall.ECONNRESET)
			}
			d := e.Services()[0].Destinations[0]
			if got := [2]uint64{d.Failures, d.Stats.Conns}; d.Addr != hasty || got != want {
				t.Errorf("%s: failures and connections %d, want %d of %s", d.Addr, got, want, hasty)
			}
		})
	}
}

// What was said before a reset is passed on at once, and not held back for a FIN
// that never comes.
func TestLastWordsBeforeReset(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	nothing := func() {}
	e.InTurns(func() {
		say(t, rs, "busy")
		rs.SetLinger(0)
		rs.Close()
	}, nothing, nothing)
	if e.Conns() != 0 {
		t.Error("the last words wait for something")
	}
	hear(t, c, "busy")
	hearEnd(t, c, syscall.ECONNRESET)
}

// After one side has sent its FIN, its RST is still heard of.
func TestResetAfterHalfClose(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	c.CloseWrite()
	hearEnd(t, rs, io.EOF)
	c.SetLinger(0)
	c.Close()
	eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	eventually(t, "the server hears of it", func() bool {
		_, err := rs.Write([]byte("x"))
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	})
}

// So it is when the loop sees both at once.
func TestResetWithHalfClose(t *testing.T) {
	for _, from := range []string{"client", "server"} {
		t.Run(from, func(t *testing.T) {
			e, a, b := through(t, fullnat.Options{})
			if from == "server" {
				a, b = b, a
			}
			e.InLoops(func() {
				say(t, a, "last words")
				a.CloseWrite()
				a.SetLinger(0)
				a.Close()
			})
			hear(t, b, "last words")
			hearEnd(t, b, io.EOF) // which it was, and the reset comes behind it
			eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
			if got := states(e); got != "CLOSE" {
				t.Errorf("state %s, want CLOSE", got)
			}
		})
	}
}

// A server that answers early and closes while the client still sends: its
// answer must arrive.
func TestEarlyAnswer(t *testing.T) {
	_, c, rs := through(t, fullnat.Options{})
	say(t, c, "a very long upload")
	hear(t, rs, "a")
	say(t, rs, "413 too large")
	rs.Close() // with data unread: a RST follows
	hear(t, c, "413 too large")
}

// A connection from the port of a closed one takes its place: a client behind
// few ports does not fill its server up with connections that are over.
func TestPortReuse(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) { c.Write([]byte("x")) }) // and ends first
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", rs)
	s.Destinations[0].Upper = 3
	apply(t, e, s)
	from := &net.TCPAddr{IP: n.addr(2).AsSlice(), Port: int(freePort(t, "tcp", n.addr(2)).Port())}
	for range 600 { // more than a chunk of ghosts
		var c *net.TCPConn
		var err error
		eventually(t, "the client's port is free again", func() bool { // which it is with the last ACK
			c, err = net.DialTCP("tcp", from, net.TCPAddrFromAddrPort(s.Addr))
			return !errors.Is(err, unix.EADDRINUSE)
		})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		hear(t, c, "x")
		hearEnd(t, c, io.EOF)
		c.Close()
		eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	}
	if d := e.Services()[0].Destinations[0]; d.Active != 0 || d.Inactive != 1 || d.Stats.Conns != 600 {
		t.Errorf("%d active, %d inactive, %d connections, want 0, 1, 600", d.Active, d.Inactive, d.Stats.Conns)
	}
	if got := states(e); got != "TIME_WAIT" {
		t.Errorf("states %s, want TIME_WAIT once", got)
	}
	e.Skew(3 * time.Minute)
	eventually(t, "it is forgotten", func() bool { return e.Ghosts() == 0 })
	if d := e.Services()[0].Destinations[0]; d.Active != 0 || d.Inactive != 0 {
		t.Errorf("%d active and %d inactive in the end", d.Active, d.Inactive)
	}
}

// A client that comes back from the same port takes the place of its earlier
// connection also if that has ended in another loop.
func TestPortReuseAfterMove(t *testing.T) {
	runtime.LockOSThread()
	if err := stayOnCPU(); err != nil { // whose loop has all connections
		t.Fatal(err)
	}
	n := newNetwork()
	end := make(chan bool)
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) { c.Write([]byte("x")); <-end })
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	from := &net.TCPAddr{IP: n.addr(2).AsSlice(), Port: int(freePort(t, "tcp", n.addr(2)).Port())}
	for i := range 8 {
		var c *net.TCPConn
		var err error
		eventually(t, "the client's port is free again", func() bool {
			c, err = net.DialTCP("tcp", from, net.TCPAddrFromAddrPort(s.Addr))
			return !errors.Is(err, unix.EADDRINUSE)
		})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		hear(t, c, "x")
		e.Move(i%2, 1-i%2, 1)
		end <- true
		hearEnd(t, c, io.EOF)
		c.Close()
		eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	}
	if d := e.Services()[0].Destinations[0]; d.Inactive != 1 {
		t.Errorf("%d inactive, want 1", d.Inactive)
	}
	checkEmpty(t, e)
}

// A client that comes back from the same port takes the place of its earlier
// connection also if a loop is helped with either.
func TestPortReuseWhenHelped(t *testing.T) {
	runtime.LockOSThread()
	if err := stayOnCPU(); err != nil { // whose loop has all connections
		t.Fatal(err)
	}
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) { c.Write([]byte("x")) }) // and ends first
	e := start(t, fullnat.Config{Loops: 2})
	e.StayPut()
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	var from [48]*net.TCPAddr
	for i := range from {
		from[i] = &net.TCPAddr{IP: n.addr(2).AsSlice(), Port: 20000 + i}
	}
	for round := range 6 {
		release := []func(){e.Hold(0), e.Hold(1)}
		var conns [len(from)]*net.TCPConn
		for i := range from {
			var err error
			eventually(t, "the client's port is free again", func() bool {
				conns[i], err = net.DialTCP("tcp", from[i], net.TCPAddrFromAddrPort(s.Addr))
				return !errors.Is(err, unix.EADDRINUSE)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		release[round%2]() // in every other round the one that has nothing to do, and helps
		eventually(t, "it sleeps", func() bool { return e.LoopsAsleep()[round%2] })
		release[1-round%2]()
		for _, c := range conns {
			c.SetDeadline(time.Now().Add(patience))
			hear(t, c, "x")
			hearEnd(t, c, io.EOF)
			c.Close()
		}
		eventually(t, "connections end", func() bool { return e.Conns() == 0 })
	}
	if d := e.Services()[0].Destinations[0]; int(d.Inactive) != len(from) {
		t.Errorf("%d inactive, want %d", d.Inactive, len(from))
	}
	checkEmpty(t, e)
}

func TestClosedConnectionKeepsItsLocal(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), named("a")))
	s.Options.Locals = []netip.Addr{n.addr(21)}
	apply(t, e, s)
	ask(t, s.Addr)
	eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	list := e.Connections()
	if len(list) != 1 || list[0].Local != netip.AddrPortFrom(n.addr(21), 0) {
		t.Errorf("%+v, want one from %s", list, n.addr(21))
	}
}

// A connection whose server refuses ends without harm to others: their sockets
// may have the numbers of its own.
func TestRefusedBesideServed(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), named("served"))
	e := start(t, fullnat.Config{Loops: 1})
	good, bad := tcpService(t, n.addr(1), "rr", rs), tcpService(t, n.addr(2), "rr", &server{addr: freePort(t, "tcp", n.addr(12))})
	bad.Options.Retries = -1
	apply(t, e, good, bad)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 40 {
				to, want := good.Addr, "served"
				if i%2 == 0 {
					to, want = bad.Addr, ""
				}
				c, err := net.Dial("tcp", to.String())
				var b []byte
				if err == nil {
					c.SetDeadline(time.Now().Add(patience))
					b, err = io.ReadAll(c)
					c.Close()
				}
				if string(b) != want || (err != nil) != (want == "") {
					t.Errorf("from %s: %q, %v", to, b, err)
				}
			}
		})
	}
	wg.Wait()
}

// A loop that has nothing left sleeps for good.
func TestSleep(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), named("a"))
	us, _ := serveUDP(t, n.addr(11), tagged("a"))
	e := start(t, fullnat.Config{Loops: 1})
	s, u := tcpService(t, n.addr(1), "rr", rs), udpService(t, n.addr(1), "rr", us)
	apply(t, e, s, u)
	for range 3 {
		ask(t, s.Addr)
	}
	query(t, udpClient(t, u.Addr), "")
	if p := e.Patience(); p < 0 {
		t.Errorf("with a session it sleeps for %d ms", p)
	}
	e.Pause()
	e.Resume()
	eventually(t, "all is over", func() bool { e.Skew(10 * time.Minute); return e.Patience() == -1 })
}
