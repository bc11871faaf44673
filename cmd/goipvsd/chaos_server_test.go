package main

import (
	"io"
	"net"
	"net/netip"
	"sync"
)

// chaosSeat is where a server of TestKernelChaos listens: a port of a host.
type chaosSeat struct{ host, port int }

// A mood is what a chaosEcho does to who connects.
type mood int

const (
	well    mood = iota // says who it is, and then every byte again
	refuses             // nobody listens
	resets              // takes the connection and resets it
	lies                // says another name
	silent              // takes the connection and says nothing
	moods
)

// chaosEcho is a server with moods. Connections that it had live on in all of them.
type chaosEcho struct {
	*rig
	seat chaosSeat

	mu    sync.Mutex
	mood  mood
	l     net.Listener
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

func newChaosEcho(r *rig, seat chaosSeat) *chaosEcho {
	e := &chaosEcho{rig: r, seat: seat, conns: make(map[net.Conn]bool), mood: refuses}
	e.be(well)
	r.Cleanup(func() { e.be(refuses); e.die(); e.all.Wait() })
	return e
}

// be changes the mood.
func (e *chaosEcho) be(m mood) {
	e.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.mood
	switch e.mood = m; {
	case m == refuses && was != refuses:
		e.l.Close()
	case m != refuses && was == refuses:
		h := e.net.Servers[e.seat.host-1]
		l, err := h.Listen("tcp", netip.AddrPortFrom(h.Addr4, uint16(e.seat.port)))
		e.must(err)
		e.l = l
		e.all.Go(func() { e.accept(l) })
	}
}

func (e *chaosEcho) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		m := e.mood
		e.conns[c] = true
		e.mu.Unlock()
		e.all.Go(func() {
			e.serve(c, m)
			c.Close()
			e.mu.Lock()
			delete(e.conns, c)
			e.mu.Unlock()
		})
	}
}

func (e *chaosEcho) serve(c net.Conn, m mood) {
	name := e.net.Servers[e.seat.host-1].Name + "\n"
	switch m {
	case resets:
		_ = c.(*net.TCPConn).SetLinger(0)
		return
	case lies:
		name = "nobody you know\n"
	case silent:
		_, _ = io.Copy(io.Discard, c)
		return
	}
	_, _ = io.WriteString(c, name)
	_, _ = io.Copy(c, c)
}

// die ends all connections.
func (e *chaosEcho) die() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		c.Close()
	}
}
