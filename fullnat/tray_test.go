package fullnat_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"hash"
	"io"
	"net"
	"runtime"
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
