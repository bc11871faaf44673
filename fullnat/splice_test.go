package fullnat_test

import (
	"io"
	"net"
	"testing"

	"github.com/goipvs/goipvs/fullnat"
)

// A stream that pauses gives its pipe back, for the next one to take.
func TestPipesGoBack(t *testing.T) {
	n := newNetwork()
	const size = 8 << 20
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, size)
		io.WriteString(c, "x")
		io.Copy(io.Discard, c)
	})
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	for range 4 {
		c := dial(t, s.Addr)
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		hear(t, c, "x")
	}
	eventually(t, "one pipe was enough", func() bool { spare, lent := e.Pipes(); return spare == 1 && lent == 0 })
}
