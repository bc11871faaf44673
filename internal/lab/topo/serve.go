package topo

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Server is a tiny server that answers every request with its host's name and
// the two addresses of the connection as it sees them. A request is a line or,
// over udp, a datagram; a connection is held open until the client closes it.
// Over tcp it answers HTTP requests too, with the same line as body. After the
// request "fin" it ends its half of the connection, after "close" all of it; to
// "reset" it answers with a reset.
type Server struct {
	host *Host

	mu     sync.Mutex
	open   map[io.Closer]struct{} // nil when closed
	worker sync.WaitGroup
}

// Serve starts a server for tcp, udp or sctp. It listens on the given addresses,
// without any on the host's own and on all virtual addresses there are, which
// suits every forwarding method. It runs until its Close or that of the Net.
func (h *Host) Serve(network string, port uint16, addrs ...netip.Addr) (*Server, error) {
	if len(addrs) == 0 {
		addrs = append(h.net.VIPs(), h.Addr4)
		if h.Addr6.IsValid() {
			addrs = append(addrs, h.Addr6)
		}
	}
	s := &Server{host: h, open: map[io.Closer]struct{}{}}
	// One socket per address rather than a wildcard: an answer must come from
	// the address that was asked, and SCTP tells its peer all it is bound to.
	for _, a := range addrs {
		if err := s.listen(network, netip.AddrPortFrom(a, port)); err != nil {
			s.Close()
			return nil, err
		}
	}
	h.net.keep(s)
	return s, nil
}

func (s *Server) listen(network string, addr netip.AddrPort) error {
	if network == "udp" {
		c, err := s.host.ListenPacket(network, addr)
		if err != nil {
			return err
		}
		s.run(c, func() { s.echo(c) })
		return nil
	}
	l, err := s.host.Listen(network, addr)
	if err != nil {
		return err
	}
	s.run(l, func() { s.accept(l) })
	return nil
}

// run runs f, which works on c, and sees to it that c is closed once f is done
// or the server is.
func (s *Server) run(c io.Closer, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		c.Close()
		return
	}
	s.open[c] = struct{}{}
	s.worker.Go(func() {
		f()
		c.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	})
}

// Close stops listening, closes the connections and waits for the end. More
// than one call is no error.
func (s *Server) Close() error {
	s.host.net.drop(s)
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.worker.Wait()
	return nil
}

func (s *Server) answer(local, remote net.Addr) string {
	return fmt.Sprintf("%s %s %s\n", s.host.Name, local, remote)
}

func (s *Server) echo(c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		// The client may be gone: that is its business.
		_, _ = c.WriteTo([]byte(s.answer(c.LocalAddr(), from)), from)
	}
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetKeepAlive(false) // packets that nobody asked for set timers
		}
		s.run(c, func() { s.talk(c) })
	}
}

func (s *Server) talk(c net.Conn) {
	r := bufio.NewReader(c)
	answer := s.answer(c.LocalAddr(), c.RemoteAddr())
	for {
		first, err := r.Peek(1)
		if err != nil {
			return
		}
		if first[0] >= 'A' && first[0] <= 'Z' { // our own requests are in lower case
			if !answerHTTP(c, r, answer) {
				return
			}
			continue
		}
		request, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if hard, ok := c.(interface{ SetLinger(sec int) error }); ok && request == "reset\n" {
			_ = hard.SetLinger(0) // before a close that is due anyway
			return
		}
		if _, err := io.WriteString(c, answer); err != nil || request == "close\n" {
			return
		}
		if half, ok := c.(interface{ CloseWrite() error }); ok && request == "fin\n" {
			half.CloseWrite()
		}
	}
}

// answerHTTP answers one request and tells whether there may be another.
func answerHTTP(c net.Conn, r *bufio.Reader, body string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return false
	}
	_, err = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return err == nil && !req.Close
}
