package fullnat_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// An upgrade under load: another process takes over the sockets and this one
// drains. No connection attempt fails, and old connections go on until they
// end by themselves.
func TestHandOver(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	old := dial(t, s.Addr)
	say(t, old, "1")
	hear(t, old, "1")

	var stop atomic.Bool
	var attempts atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				attempts.Add(1)
				if err := session(s.Addr, 1); err != nil {
					t.Errorf("attempt %d: %v", attempts.Load(), err)
					return
				}
			}
		})
	}
	eventually(t, "there is load", func() bool { return attempts.Load() > 200 })
	files, err := e.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	next, _ := spawn(t, childSpec{Services: []fullnat.Service{s}, Loops: 1}, files...) // with fewer loops than sockets
	for _, f := range files {
		f.Close()
	}
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { drained <- e.Drain(ctx) }()
	eventually(t, "the next process has the load", func() bool { return next.report().Infos[0].Stats.Conns >= 500 })
	say(t, old, "2")
	hear(t, old, "2")
	stop.Store(true)
	wg.Wait()
	eventually(t, "only the old connection is left in the old process", func() bool { return e.Conns() == 1 })
	say(t, old, "3")
	hear(t, old, "3")
	old.Close()
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestDrainDeadline(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	say(t, c, "still there")
	hear(t, rs, "still there")
	e.Close()
	refusedRead(t, c)
	e.Close() // again is no harm
	if err := e.Apply(nil); !errors.Is(err, fullnat.ErrClosed) {
		t.Errorf("error %v, want %v", err, fullnat.ErrClosed)
	}
	e.Connections()
}

func refusedRead(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a reset", err)
	}
}

// Clients stay with their servers over a restart: by template, and by session.
func TestState(t *testing.T) {
	n := newNetwork()
	a, b := serveTCP(t, n.addr(11), named("a")), serveTCP(t, n.addr(12), named("b"))
	ua, _ := serveUDP(t, n.addr(11), tagged("a"))
	ub, _ := serveUDP(t, n.addr(12), tagged("b"))
	s, u := tcpService(t, n.addr(1), "rr", a, b), udpService(t, n.addr(1), "rr", ua, ub)
	s.Flags, s.Timeout = ipvs.Persistent, 10*time.Minute

	e := start(t, fullnat.Config{Loops: 2})
	apply(t, e, s, u)
	clients := []*net.UDPConn{udpClient(t, u.Addr), udpClient(t, u.Addr), udpClient(t, u.Addr)}
	for range 2 {
		if got := ask(t, s.Addr); got != "b" {
			t.Fatalf("server %s, want b", got)
		}
	}
	query(t, clients[0], "")
	first, second := query(t, clients[1], ""), query(t, clients[2], "")
	text, err := json.Marshal(e.State())
	if err != nil {
		t.Fatal(err)
	}
	e.Close()

	var state fullnat.State
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	e = start(t, fullnat.Config{Loops: 1})
	s.Destinations[0], s.Destinations[1] = s.Destinations[1], s.Destinations[0] // rr alone would begin with a
	apply(t, e, s, u)
	e.Restore(state)
	if again := e.State(); len(again.Sessions) != 3 || len(again.Templates) != 1 {
		t.Errorf("the next process would hear of %v and %v", again.Sessions, again.Templates)
	}
	if got := ask(t, s.Addr); got != "b" {
		t.Errorf("server %s after the restart, want b", got)
	}
	if got := query(t, clients[2], ""); got != second {
		t.Errorf("session with %s after the restart, want %s", got, second)
	}
	if got := query(t, clients[1], ""); got != first {
		t.Errorf("session with %s after the restart, want %s", got, first)
	}
}

// Sockets of services that are not wanted are closed, and others than ours do
// no harm.
func TestInherited(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), named("a"))
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	files, err := e.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	other := start(t, fullnat.Config{Loops: 1, Inherited: append([]*os.File{closed, null}, files...)})
	apply(t, other)
	if keys := other.Disinherit(); len(keys) != 1 || keys[0] != s.ServiceKey {
		t.Errorf("sockets of %v were left over, want those of %v", keys, s.ServiceKey)
	}
	e.Close()
	if _, err := net.Dial("tcp", s.Addr.String()); err == nil {
		t.Error("a socket that nobody wants is still open")
	}
}

// A paused engine takes nobody and goes on with those it has; who came meanwhile
// is served when it resumes, by it or by another that has the sockets.
func TestPause(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	u, _ := serveUDP(t, n.addr(11), tagged("a"))
	e := start(t, fullnat.Config{Loops: 1})
	s, d := tcpService(t, n.addr(1), "rr", rs), udpService(t, n.addr(1), "rr", u)
	apply(t, e, s, d)
	old := dial(t, s.Addr)
	say(t, old, "1")
	hear(t, old, "1")
	talk := udpClient(t, d.Addr)
	query(t, talk, "1")
	files, err := e.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	other := start(t, fullnat.Config{Loops: 2, Inherited: files, Paused: true}) // with more loops than sockets
	again, err := e.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range again {
		c, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Control(func(fd uintptr) {
			if on, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || on&unix.O_NONBLOCK == 0 {
				t.Errorf("a socket that is handed over waits when it is asked for clients: flags %#x, %v", on, err)
			}
		})
		f.Close()
	}
	apply(t, other, s, d)

	e.Pause()
	state := e.State()
	waiting := dial(t, s.Addr)
	say(t, waiting, "2")
	if _, err := talk.Write([]byte("2")); err != nil {
		t.Fatal(err)
	}
	say(t, old, "3")
	hear(t, old, "3")
	if e.Conns() != 2 || other.Conns() != 0 {
		t.Errorf("%d and %d connections while both are paused, want 2 and 0", e.Conns(), other.Conns())
	}
	other.Restore(state)
	other.Resume()
	hear(t, waiting, "2")
	b := make([]byte, 64)
	talk.SetReadDeadline(time.Now().Add(patience))
	if m, err := talk.Read(b); err != nil || string(b[:m]) != "a2" {
		t.Errorf("answer %q, %v, want a2", b[:m], err)
	}
	if got := other.Services()[0].Stats.Conns; got != 2 {
		t.Errorf("%d connections are counted in the next process, want 2: one from the process before", got)
	}
}
