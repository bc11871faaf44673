package fullnat_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// onCPU runs f on one CPU, where the packets that it sends over loopback come in,
// too.
func onCPU(t *testing.T, cpu int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var one unix.CPUSet
		one.Set(cpu)
		err := unix.SchedSetaffinity(0, &one)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// dialHere connects a socket without another thread, which Go's dialler may use.
func dialHere(to netip.AddrPort) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	return net.FileConn(f)
}

// pinned is an engine of two loops, each tied to a CPU.
func pinned(t *testing.T, c fullnat.Config) (*fullnat.Engine, []int) {
	t.Helper()
	c.Loops, c.PlainCalls = 2, *plain
	e, err := fullnat.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	cpus := e.CPUs()
	if cpus[0] == cpus[1] || cpus[0] < 0 {
		t.Skipf("no two CPUs to tie loops to: %v", cpus)
	}
	return e, cpus
}

// steers tells whether the kernel gives a connection to the socket of its packets'
// CPU.
func steers(t *testing.T, cpus []int) bool {
	t.Helper()
	at := freePort(t, "tcp", newNetwork().addr(1))
	var fds []int
	for range cpus {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 64); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	for i, fd := range fds {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_CPU, cpus[i])
	}
	came := 0
	onCPU(t, cpus[0], func() {
		for range 32 {
			if c, err := dialHere(at); err == nil {
				defer c.Close()
			}
			if fd, _, err := unix.Accept(fds[0]); err == nil {
				unix.Close(fd)
				came++
			}
		}
	})
	return came == 32
}

// open makes connections through a service that stay, from a CPU.
func open(t *testing.T, to netip.AddrPort, cpu, n int) (conns []net.Conn) {
	t.Helper()
	onCPU(t, cpu, func() {
		for range n {
			c, err := dialHere(to)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(patience))
			conns = append(conns, c)
		}
	})
	return conns
}

// Clients are served by the loop of the CPU that their packets come in on, also
// by a process that has got the sockets from another one, in another order.
func TestSteering(t *testing.T) {
	n := newNetwork()
	e, cpus := pinned(t, fullnat.Config{})
	if !steers(t, cpus) {
		t.Skip("this kernel goes by the hash of the addresses (before Linux 6.2)")
	}
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), echo))
	apply(t, e, s)
	check := func(e *fullnat.Engine, loop int) {
		t.Helper()
		e.CPUs() // the loops have the sockets by now
		conns := open(t, s.Addr, cpus[loop], 12)
		for _, c := range conns {
			if err := exchange(c, 1); err != nil {
				t.Fatal(err)
			}
		}
		want := []int{0, 0}
		want[loop] = len(conns)
		if got := e.ConnsByLoop(); !slices.Equal(got, want) {
			t.Errorf("connections of CPU %d are in the loops %v, want %v", cpus[loop], got, want)
		}
		for _, c := range conns {
			c.Close()
		}
		eventually(t, "connections end", func() bool { return e.Conns() == 0 })
	}
	check(e, 0)
	check(e, 1)

	files, err := e.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	other, _ := pinned(t, fullnat.Config{Inherited: files, Paused: true})
	apply(t, other, s)
	e.Pause()
	other.Resume()
	check(other, 0)
	check(other, 1)

	// Loops that are not tied to CPUs do not ask for those of one.
	if files, err = other.Listeners(); err != nil {
		t.Fatal(err)
	}
	again := start(t, fullnat.Config{Loops: 2, Inherited: files})
	apply(t, again, s)
	for _, cpu := range again.CPUs() {
		if cpu >= 0 {
			t.Errorf("a loop is tied to CPU %d", cpu)
		}
	}
	if files, err = again.Listeners(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if cpu, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_INCOMING_CPU); err != nil || cpu >= 0 {
			t.Errorf("a socket is for CPU %d, %v", cpu, err)
		}
		f.Close()
	}
}

// A loop that finds many new connections shares them with one that has nothing
// to do.
func TestBusyLoopIsHelped(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), echo))
	apply(t, e, s)
	first := e.Hold(0)
	second := e.Hold(1)
	var conns []net.Conn
	for range 200 {
		conns = append(conns, dial(t, s.Addr))
	}
	second()
	var own int // that came to the second loop by themselves
	eventually(t, "the second loop accepts", func() bool {
		was := own
		own = e.Conns()
		return own > 0 && own == was && e.LoopsAsleep()[1]
	})
	first()
	eventually(t, "the first loop accepts", func() bool { return e.Conns() == len(conns) })
	for _, c := range conns {
		if err := exchange(c, 2); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.ConnsByLoop(); got[1] <= own || got[0]+got[1] != len(conns) {
		t.Errorf("%v connections in the loops, %d of which came to the second one by themselves", got, own)
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "connections end", func() bool { return e.Conns() == 0 })
	checkEmpty(t, e)
}

// An engine that ends while loops help each other leaves no client without an
// answer, and no descriptor.
func TestCloseWhileHelped(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	was := openFiles(t)
	for range 6 {
		e := start(t, fullnat.Config{Loops: 2})
		s := tcpService(t, n.addr(1), "rr", rs)
		apply(t, e, s)
		first := e.Hold(0)
		var conns []*net.TCPConn
		for range 100 {
			conns = append(conns, dial(t, s.Addr))
		}
		closed := make(chan bool)
		go func() { e.Close(); close(closed) }()
		first()
		<-closed
		for _, c := range conns {
			refusedRead(t, c)
			c.Close()
		}
		if n := e.Conns(); n != 0 {
			t.Fatalf("%d connections in an engine that has ended", n)
		}
	}
	eventually(t, "descriptors are given back", func() bool { return openFiles(t) <= was })
}

// Whoever moves connections to a loop that ends, or has ended, does not wait for it.
func TestMoveToLoopThatEnds(t *testing.T) {
	e := start(t, fullnat.Config{Loops: 2})
	e.EndLoop(1)()
	moved := make(chan bool)
	go func() {
		for range 100 {
			e.Move(0, 1, 1)
		}
		close(moved)
	}()
	select {
	case <-moved:
	case <-time.After(patience):
		t.Fatal("hangs")
	}
}

// Connections that come to a loop that ends, or has ended, are reset.
func TestHelpOfLoopThatEnds(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), echo))
	apply(t, e, s)
	e.StayPut() // none is moved to the loop that has ended
	was := openFiles(t)
	end := e.EndLoop(1)
	for _, ended := range []bool{false, true} {
		var conns [100]*net.TCPConn
		e.InTurns(func() { // so that there are too many at once for one loop
			for i := range conns {
				conns[i] = dial(t, s.Addr)
			}
		}, func() {}, func() {}, func() {}, func() {}, func() {}, func() {}, func() {}, func() {})
		if !ended {
			end()
		}
		served := 0
		for _, c := range conns {
			_, err := io.WriteString(c, "x")
			if err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			switch {
			case err == nil:
				served++
			case !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE):
				t.Fatal(err)
			}
		}
		if got := e.Conns(); got != served || served == len(conns) || served == 0 {
			t.Errorf("%d connections of %d are served, and there are %d", served, len(conns), got)
		}
		for _, c := range conns {
			c.Close()
		}
		eventually(t, "connections end", func() bool { return e.Conns() == 0 })
	}
	eventually(t, "descriptors are given back", func() bool { return openFiles(t) <= was })
}

func TestUneven(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		work     []time.Duration
		from, to int
		share    float64
	}{
		{[]time.Duration{2 * s}, 0, 0, 0},
		{[]time.Duration{2 * s, 0}, 0, 1, 0.5},
		{[]time.Duration{0, 2 * s}, 1, 0, 0.5},
		{[]time.Duration{s, s, 2 * s, s / 2}, 2, 3, 0.375},
		{[]time.Duration{7 * s, 9 * s}, 1, 0, 0}, // nearly even
		{[]time.Duration{6 * s, 10 * s}, 1, 0, 0.2},
		{[]time.Duration{0, 10 * time.Millisecond}, 1, 0, 0}, // next to nothing
	} {
		from, to, share := fullnat.Uneven(test.work)
		if share != test.share || share > 0 && (from != test.from || to != test.to) {
			t.Errorf("%v: a share of %v from %d to %d, want %v from %d to %d", test.work, share, from, to, test.share, test.from, test.to)
		}
	}
}

// Where all packets come in on one CPU, connections that stay come to be spread
// over all loops.
func TestBalance(t *testing.T) {
	n := newNetwork()
	e, cpus := pinned(t, fullnat.Config{})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), echo))
	s.Options.Locals = n.locals(2)
	apply(t, e, s)
	var conns []net.Conn
	for range 64 { // one after the other, so that no loop asks for help
		c := open(t, s.Addr, cpus[0], 1)[0]
		if err := exchange(c, 1); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer func() { close(stop); wg.Wait() }()
	for _, c := range conns {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := exchange(c, 10); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	eventually(t, "both loops have many connections", func() bool {
		by := e.ConnsByLoop()
		return min(by[0], by[1]) >= 16
	})
}

// Connections that change loops all the time lose and change no byte, end as
// they should, and are counted once.
func TestMove(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 3})
	s := tcpService(t, n.addr(1), "wlc", serveTCP(t, n.addr(11), echo), serveTCP(t, n.addr(12), echo))
	s.Options.Locals = n.locals(3)
	apply(t, e, s)
	stop := make(chan struct{})
	var mover, wg sync.WaitGroup
	moves := 0
	mover.Go(func() {
		for ; ; moves++ {
			select {
			case <-stop:
				return
			default:
				from := rand.IntN(3)
				e.Move(from, (from+1+rand.IntN(2))%3, 1-rand.Float64()/2)
			}
		}
	})
	for i := range 24 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			for k := range 60 {
				if err := roundTrip(s.Addr, rnd, fmt.Sprintf("client %d connection %d ", i, k)); err != nil && !errors.Is(err, errHungUp) {
					t.Error(err)
				}
			}
		})
	}
	for range 3 { // in bulk, to clients that read slowly now and then
		wg.Go(func() {
			c := dial(t, s.Addr)
			const total = 48 << 20
			go func() {
				b := make([]byte, 1<<20)
				for at := 0; at < total; at += len(b) {
					for i := range b {
						b[i] = byte((at + i) >> 7)
					}
					if _, err := c.Write(b); err != nil {
						t.Error(err)
						return
					}
				}
				c.CloseWrite()
			}()
			b := make([]byte, 64<<10)
			at := 0
			for {
				n, err := c.Read(b)
				for i := range b[:n] {
					if b[i] != byte((at+i)>>7) {
						t.Errorf("byte %d is wrong", at+i)
						return
					}
				}
				at += n
				if errors.Is(err, io.EOF) && at == total {
					return
				}
				if err != nil {
					t.Errorf("%v after %d bytes of %d", err, at, total)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	mover.Wait()
	t.Logf("%d moves", moves)
	eventually(t, "connections end", func() bool { return e.Conns() == 0 })
	checkEmpty(t, e)
}

// A connection that has moved is listed and counted as before, and idles out.
func TestMoved(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 2})
	e.SetTimeouts(ipvs.Timeouts{TCP: 100 * time.Second})
	s := tcpService(t, n.addr(1), "wlc", serveTCP(t, n.addr(11), echo))
	s.Options.Locals = n.locals(1)
	apply(t, e, s)
	c := dial(t, s.Addr)
	if err := exchange(c, 2); err != nil {
		t.Fatal(err)
	}
	for to := range 2 {
		e.Move(1-to, to, 1)
		want := []int{0, 0}
		want[to] = 1
		if got := e.ConnsByLoop(); !slices.Equal(got, want) {
			t.Errorf("connections in the loops %v, want %v", got, want)
		}
		if got := e.Connections(); len(got) != 1 || got[0].Client.String() != c.LocalAddr().String() || got[0].State != "ESTABLISHED" {
			t.Errorf("listed are %+v", got)
		}
		info := e.Services()[0]
		if d := info.Destinations[0]; d.Active != 1 || d.Stats.Conns != 1 || info.Locals[0].Conns != 1 || info.Locals[0].Total != 1 {
			t.Errorf("counted as %+v, %+v", d, info.Locals[0])
		}
		if err := exchange(c, 2); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the connection idles out", func() bool {
		e.Skew(200 * time.Second) // more than once: an ACK that comes late counts as traffic
		return e.Conns() == 0
	})
	refusedRead(t, c)
}
