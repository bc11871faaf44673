package evil

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

// A Reply is what a server on UDP does with a datagram; send sends another to
// where it came from.
type Reply struct {
	Name   string
	Answer func(datagram []byte, send func([]byte))
}

// Replies are all there are, for checks of any protocol over UDP.
func Replies() []Reply {
	return []Reply{
		{"is silent", func([]byte, func([]byte)) {}},
		{"answers nothing at all", func(_ []byte, send func([]byte)) { send(nil) }},
		{"answers one byte", func(_ []byte, send func([]byte)) { send([]byte{0}) }},
		{"answers garbage", func(_ []byte, send func([]byte)) { send(garbage()[:512]) }},
		{"answers with the question", func(b []byte, send func([]byte)) { send(b) }},
		{"answers the largest datagram", func(b []byte, send func([]byte)) { send(append(b, make([]byte, 65000-len(b))...)) }},
		{"answers with a flood", func(b []byte, send func([]byte)) {
			for range 1000 {
				send(append(b[:len(b):len(b)], garbage()[:1024]...))
			}
		}},
		{"answers cut short", func(b []byte, send func([]byte)) { send(b[:len(b)/2]) }},
		{"answers ones", func(b []byte, send func([]byte)) {
			for i := range b[min(2, len(b)):] {
				b[2+i] = 0xff // after the id of DNS, which stays
			}
			send(b)
		}},
	}
}

// ServeUDP runs a server on loopback until stop is called.
func ServeUDP(t testing.TB, r Reply) (addr netip.AddrPort, stop func()) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { answerAll(c, r) })
	return netip.MustParseAddrPort(c.LocalAddr().String()), func() {
		c.Close()
		running.Wait()
	}
}

func answerAll(c *net.UDPConn, r Reply) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.Answer(append([]byte(nil), buf[:n]...), func(b []byte) { c.WriteToUDPAddrPort(b, from) })
	}
}
