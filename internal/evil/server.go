package evil

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// A Behaviour is what a server does with a connection. It returns when the
// connection ends, or when it is done; then the connection is closed.
type Behaviour struct {
	Name  string
	Serve func(net.Conn)
}

// Serve runs a server of a behaviour on loopback until stop is called, which
// waits for all of it to end.
func Serve(t testing.TB, b Behaviour) (addr netip.AddrPort, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{listener: l, open: make(map[net.Conn]bool)}
	s.running.Go(func() { s.accept(b.Serve) })
	return netip.MustParseAddrPort(l.Addr().String()), s.stop
}

// InTLS is the behaviour after a TLS handshake that is as it should be.
func InTLS(b Behaviour, cert tls.Certificate) Behaviour {
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	return Behaviour{"in TLS: " + b.Name, func(c net.Conn) {
		t := tls.Server(c, config)
		if t.Handshake() == nil {
			b.Serve(t)
			t.Close()
		}
	}}
}

type server struct {
	listener net.Listener
	running  sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool // nil: stopped
}

func (s *server) accept(serve func(net.Conn)) {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.add(c) {
			return
		}
		s.running.Go(func() {
			defer s.remove(c)
			serve(c)
		})
	}
}

func (s *server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		c.Close()
		return false
	}
	s.open[c] = true
	return true
}

func (s *server) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Close()
	delete(s.open, c)
}

func (s *server) stop() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.running.Wait()
}

// until waits for the other side to go, reading what it says.
func until(c net.Conn) {
	buf := make([]byte, 4<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// heard waits for the first words of the other side, but not for long: in some
// protocols the server speaks first.
func heard(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	c.Read(make([]byte, 4<<10))
	c.SetReadDeadline(time.Time{})
}
