package healthcheck

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestOnce: a check is one connection or one datagram, whatever its library
// would do by itself, and however the server ends it.
func TestOnce(t *testing.T) {
	t.Parallel()
	endings := map[string]func(net.Conn){
		"closes": func(c net.Conn) { c.Close() },
		"resets": func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"hangs":  func(net.Conn) {},
	}
	var all sync.WaitGroup
	for kind, list := range samples {
		if slices.Contains([]string{"external", "off", "on", "ping"}, kind) {
			continue
		}
		for _, s := range list {
			s.check.Type = kind
			for ending, end := range endings {
				all.Go(func() {
					n := 0
					for in := time.Second / 2; n == 0 && in < time.Minute; in *= 4 { // a busy machine may not come to it
						n = attempts(t, s, end, in)
					}
					if n != 1 {
						t.Errorf("%s of a server that %s: %d attempts", kind, ending, n)
					}
				})
			}
		}
	}
	all.Wait()
}

// attempts makes the check, for some time, of a server that ends connections in
// this way.
func attempts(t *testing.T, s sample, end func(net.Conn), in time.Duration) (n int) {
	ctx, cancel := context.WithTimeout(t.Context(), in)
	defer cancel()
	serve, network := serveConnections, "tcp"
	if s.udp {
		serve, network = serveDatagrams, "udp"
	}
	addr, peers := serve(t, end)
	if _, err := Look(ctx, s.check, Target{Real: addr}); err != nil {
		t.Error(err)
	}
	if last, err := lastDialer(network).Dial(network, addr.String()); err == nil { // or else reset at once
		last.Write([]byte("the end"))
		defer last.Close()
	}
	for peer := range peers {
		if strings.HasPrefix(peer, lastFrom) {
			break
		}
		n++
	}
	return n
}

// lastFrom is where the test itself connects from, behind all of the check's.
const lastFrom = "127.0.0.2"

func lastDialer(network string) *net.Dialer {
	from := net.ParseIP(lastFrom)
	if network == "udp" {
		return &net.Dialer{LocalAddr: &net.UDPAddr{IP: from}}
	}
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
}

// serveDatagrams never answers. It tells who sent what came.
func serveDatagrams(t *testing.T, _ func(net.Conn)) (netip.AddrPort, <-chan string) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	peers := make(chan string, 100)
	go func() {
		defer close(peers)
		for {
			_, from, err := c.ReadFrom(make([]byte, 1<<10))
			if err != nil {
				return
			}
			peers <- from.String()
		}
	}()
	return netip.MustParseAddrPort(c.LocalAddr().String()), peers
}

// serveConnections tells who connected.
func serveConnections(t *testing.T, end func(net.Conn)) (netip.AddrPort, <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	peers := make(chan string, 100)
	go func() {
		defer close(peers)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			peers <- c.RemoteAddr().String()
			end(c)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()), peers
}
