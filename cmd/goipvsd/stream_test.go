package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"golang.org/x/sys/unix"
)

// echo serves on a port of a host, 80 if nothing else is said: a connection hears the host's name, and
// then every byte it sends. It can die and come back.
type echo struct {
	t     testing.TB
	h     *topo.Host
	at    netip.AddrPort
	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

func newEcho(r *rig, h *topo.Host) *echo { return newEchoAt(r, h, netip.AddrPortFrom(h.Addr4, 80)) }

func newEchoAt(r *rig, h *topo.Host, at netip.AddrPort) *echo {
	e := &echo{t: r, h: h, at: at, conns: make(map[net.Conn]bool)}
	e.up()
	r.Cleanup(func() { e.die(); e.all.Wait() })
	return e
}

func (e *echo) up() {
	e.t.Helper()
	l, err := e.h.Listen("tcp", e.at)
	if err != nil {
		e.t.Fatal(err)
	}
	e.mu.Lock()
	e.l = l
	e.mu.Unlock()
	e.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns[c] = true
			e.mu.Unlock()
			e.all.Go(func() { e.serve(c) })
		}
	})
}

func (e *echo) serve(c net.Conn) {
	_, _ = io.WriteString(c, e.h.Name+"\n")
	_, _ = io.Copy(c, c)
	c.Close()
	e.mu.Lock()
	delete(e.conns, c)
	e.mu.Unlock()
}

// refuse stops taking connections; those there are go on.
func (e *echo) refuse() { e.mu.Lock(); defer e.mu.Unlock(); e.l.Close() }

// die ends everything.
func (e *echo) die() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.l.Close()
	for c := range e.conns {
		c.Close()
	}
}

// stream sends numbered bytes through the service and reads them back, until it
// is closed.
type stream struct {
	server string
	conn   net.Conn
	stop   chan struct{}
	done   chan struct{}
	beat   chan struct{} // who waits here hears of the next number that comes back
	turn   sync.Mutex    // held from a number's start until it is back
	count  int
	err    error
}

func newStream(r *rig, to netip.AddrPort) *stream {
	r.Helper()
	s, err := openStream(r, patience, netip.AddrPort{}, to)
	r.must(err)
	return s
}

// openStream opens one from a port of the client's, if it says which, and reports
// that nobody answers in time.
func openStream(r *rig, patience time.Duration, from, to netip.AddrPort) (*stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.net.Client.Dial(ctx, "tcp", from, to)
	if err != nil {
		return nil, err
	}
	s := &stream{conn: c.Conn, stop: make(chan struct{}), done: make(chan struct{}), beat: make(chan struct{})}
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(s.conn)
	name, err := in.ReadString('\n')
	if err != nil {
		s.conn.Close()
		return nil, err
	}
	s.server = strings.TrimSpace(name)
	go s.run(in)
	r.Cleanup(func() { s.conn.Close(); <-s.done })
	return s, nil
}

func (s *stream) run(in io.Reader) {
	defer close(s.done)
	var b [8]byte
	for n := uint64(1); ; n++ {
		select {
		case <-s.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		if s.err = s.exchange(in, b[:], n); s.err != nil {
			return
		}
		s.count++
		select {
		case s.beat <- struct{}{}:
		default:
		}
	}
}

func (s *stream) exchange(in io.Reader, b []byte, n uint64) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	binary.BigEndian.PutUint64(b, n)
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(b); got != n {
		return fmt.Errorf("number %d came back as %d", n, got)
	}
	return nil
}

// quiet has streams say nothing, and waits until nothing of them is under way any
// more, until loud is called.
func quiet(r *rig, servers []*echo, streams ...*stream) (loud func()) {
	r.Helper()
	conns := []net.Conn{}
	for _, s := range streams {
		s.turn.Lock()
		conns = append(conns, s.conn)
	}
	for _, e := range servers {
		e.mu.Lock()
		for c := range e.conns {
			conns = append(conns, c)
		}
		e.mu.Unlock()
	}
	r.await("all that was sent has been acknowledged", func() bool { return !slices.ContainsFunc(conns, unacknowledged) })
	return func() {
		for _, s := range streams {
			s.turn.Unlock()
		}
	}
}

// unacknowledged reports whether a connection waits for an acknowledgement.
func unacknowledged(c net.Conn) (waits bool) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return false // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		waits = err == nil && info.State == 1 && (info.Unacked != 0 || info.Notsent_bytes != 0) // 1: established
	})
	return waits
}

// end stops the stream and tells what went wrong with it.
func (s *stream) end() error {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.done
	s.conn.Close()
	return s.err
}

// streamTo opens connections until one is to the server.
func streamTo(r *rig, server string) *stream {
	r.Helper()
	for range 20 {
		s := newStream(r, vipPort)
		if s.server == server {
			return s
		}
		r.must(s.end())
	}
	r.Fatalf("no connection came to %s", server)
	return nil
}

// lives asserts that a stream has lost nothing and goes on.
func (r *rig) lives(what string, all ...*stream) {
	r.Helper()
	for _, s := range all {
		select {
		case <-s.beat:
		case <-s.done:
		}
		if err := s.end(); err != nil {
			r.Errorf("%s: stream to %s after %d numbers: %v", what, s.server, s.count, err)
		}
	}
}
