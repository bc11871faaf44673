package fullnat_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"golang.org/x/sys/unix"
)

var plain = flag.Bool("plain", false, "engines do without io_uring")

// What a socket does not take, and what became of one whose peer is gone, is
// known when the call returns.
func TestRing(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ours, theirs [4]int
	for i := range ours {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours[i], theirs[i] = pair[0], pair[1]
		defer unix.Close(pair[1])
	}
	const well, full, gone, last = 0, 1, 2, 3
	for e := error(nil); e == nil; { // until nothing more is taken
		e = unix.Sendto(ours[full], make([]byte, 4096), unix.MSG_DONTWAIT, nil)
	}
	unix.Shutdown(theirs[gone], unix.SHUT_RDWR)
	for range 300 { // longer than the ring, which goes round
		sent, err := fullnat.SendByRing(ours[:last], []byte("hello"))
		if err != nil { // forbidden, or older than Linux 6.6
			t.Skipf("no io_uring here: %v", err)
		}
		want := []int32{5, -int32(unix.EAGAIN), -int32(unix.EPIPE)}
		for i, n := range sent {
			if n != want[i] {
				t.Fatalf("socket %d took %d, want %d", i, n, want[i])
			}
		}
		b := make([]byte, 16)
		if n, err := unix.Read(theirs[well], b); err != nil || string(b[:n]) != "hello" {
			t.Fatalf("arrived %q, %v", b[:n], err)
		}
	}
	if _, err := fullnat.SendByRing(nil, nil, ours[:]...); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(theirs[last], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("after the close: %d bytes, %v, want the end", n, err)
	}
}

// Connects leave their results at once: that they are made, refused, or under
// way, and then they are made later.
func TestRingConnects(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := newNetwork()
	const many = 40 // more than one call of the kernel takes in
	connect := func(to netip.AddrPort) (fds []int, res []int32) {
		for range many {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			fds = append(fds, fd)
		}
		res, err := fullnat.ConnectByRing(fds, to)
		if err != nil {
			t.Skipf("no io_uring here: %v", err)
		}
		return fds, res
	}
	up := serveTCP(t, n.addr(11), echo)
	if _, res := connect(up.addr); slices.ContainsFunc(res, func(e int32) bool { return e != 0 && e != -int32(unix.EINPROGRESS) }) {
		t.Errorf("a server that accepts: %d", res)
	}
	if _, res := connect(freePort(t, "tcp", n.addr(12))); slices.ContainsFunc(res, func(e int32) bool {
		return e != -int32(unix.ECONNREFUSED) && e != -int32(unix.EINPROGRESS)
	}) {
		t.Errorf("nobody there: %d", res)
	}
	full, to := fullQueue(t, n.addr(13))
	fds, res := connect(to)
	if slices.ContainsFunc(res, func(e int32) bool { return e != -int32(unix.EINPROGRESS) }) {
		t.Errorf("a server that accepts nobody: %d", res)
	}
	go func() {
		for fd, err := 0, error(nil); err == nil; fd, _, err = unix.Accept(full) {
			defer unix.Close(fd)
		}
	}()
	p := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLOUT}}
	if _, err := unix.Poll(p, int(patience/time.Millisecond)); err != nil || p[0].Revents != unix.POLLOUT {
		t.Errorf("a connect that was under way: events %#x, %v", p[0].Revents, err)
	}
}

// A kernel that owes the result of a connect for good stops nobody: the loop goes
// on without io_uring.
func TestRingStuck(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), echo))
	apply(t, e, s)
	if !e.StickRing() {
		t.Skip("no io_uring here")
	}
	var cs [3]*net.TCPConn
	e.InLoops(func() { // which connects them together
		for i := range cs {
			cs[i] = dial(t, s.Addr)
		}
	})
	for _, c := range cs {
		say(t, c, "hello")
		hear(t, c, "hello")
	}
	if e.HasRing() {
		t.Error("the ring is still used")
	}
}

// Clients that come at once are connected at once, around a server that refuses
// and one that does not answer at first: with io_uring and without.
func TestManyAtOnce(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "io_uring", true: "plain"}[plain], func(t *testing.T) {
			manyAtOnce(t, fullnat.Config{Loops: 1, PlainCalls: plain})
		})
	}
}

func manyAtOnce(t *testing.T, config fullnat.Config) {
	const clients = 90
	n := newNetwork()
	e := start(t, config)
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), echo), serveTCP(t, n.addr(12), echo), dead(t, n.addr(13)))
	s.Options.Locals = append(n.locals(3), netip.MustParseAddr("192.0.2.1")) // which is not here
	apply(t, e, s)
	var cs [clients]*net.TCPConn
	e.InLoops(func() { // which has not looked yet when all are there
		for i := range cs {
			cs[i] = dial(t, s.Addr)
		}
	})
	for i, c := range cs {
		say(t, c, fmt.Sprintf("hello %02d", i))
	}
	for i, c := range cs {
		hear(t, c, fmt.Sprintf("hello %02d", i))
	}
	got := e.Services()[0]
	conns, fails, of := uint64(0), uint64(0), map[string]uint64{}
	for _, d := range got.Destinations {
		conns, fails, of[d.Addr.Addr().String()] = conns+d.Stats.Conns, fails+d.Failures, d.Failures
	}
	if conns != clients || fails < clients/3 || of[n.addr(13).String()] != fails {
		t.Errorf("%d connections, want %d; failures by server %v, want them of the one that refuses", conns, clients, of)
	}
	total, live := uint64(0), 0
	for _, l := range got.Locals {
		total, live = total+l.Total, live+int(l.Conns)
	}
	if total != clients+fails || live != clients {
		t.Errorf("local addresses: %d in all, %d now, want %d and %d", total, live, clients+fails, clients)
	}
	for _, c := range cs {
		c.Close()
	}
	eventually(t, "connections end", func() bool { return e.Conns() == 0 })
	for _, l := range e.Services()[0].Locals {
		if l.Conns != 0 {
			t.Errorf("%s: %d connections when all have ended", l.Addr, l.Conns)
		}
	}
}

// Small messages of many connections at once, to servers that read nothing until
// their sockets take no more, and to servers that reset: with io_uring and
// without.
func TestSmallMessages(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "io_uring", true: "plain"}[plain], func(t *testing.T) {
			smallMessages(t, fullnat.Config{Loops: 1, PlainCalls: plain})
		})
	}
}

func smallMessages(t *testing.T, config fullnat.Config) {
	const conns = 8
	n := newNetwork()
	read := make(chan struct{})
	sums := serveTCP(t, n.addr(11), func(c *net.TCPConn) {
		h := sha256.New()
		<-read
		io.Copy(h, c)
		c.Write(h.Sum(nil))
	})
	resets := serveTCP(t, n.addr(12), func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, 100_000)
		c.SetLinger(0)
	})
	e := start(t, config)
	reading, resetting := tcpService(t, n.addr(1), "rr", sums), tcpService(t, n.addr(2), "rr", resets)
	apply(t, e, reading, resetting)

	var cs, rs [conns]*net.TCPConn
	var sent [conns]hash.Hash
	for i := range conns {
		cs[i], rs[i], sent[i] = dial(t, reading.Addr), dial(t, resetting.Addr), sha256.New()
	}
	for j, more := 0, 30; more > 0; j++ {
		if e.Blocked() > 0 { // which waits for the loop, so that it reads messages one by one
			more-- // the other sockets are nearly as full
		}
		for i, c := range cs {
			c.SetDeadline(time.Now().Add(patience))
			m := bytes.Repeat([]byte{byte(i), byte(j), byte(j >> 8)}, 300)
			sent[i].Write(m)
			if _, err := c.Write(m); err != nil {
				t.Fatal(err)
			}
			if rs[i] == nil {
				continue
			}
			if _, err := rs[i].Write(m); err != nil {
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("write: %v, want a reset", err)
				}
				rs[i] = nil
			}
		}
	}
	close(read)
	for i, c := range cs {
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent[i].Sum(nil)) {
			t.Errorf("the server read what has the sum %x, %v, want %x", got, err, sent[i].Sum(nil))
		}
	}
	eventually(t, "connections end", func() bool { return e.Conns() == 0 })
}
