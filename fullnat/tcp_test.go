package fullnat_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"testing"

	"github.com/goipvs/goipvs/fullnat"
)

func TestRoundRobin(t *testing.T) {
	n := newNetwork()
	a, b := serveTCP(t, n.addr(11), named("a")), serveTCP(t, n.addr(12), named("b"))
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", a, b)
	s.Options.Locals = n.locals(4)
	apply(t, e, s)
	var got string
	for range 6 {
		got += ask(t, s.Addr)
	}
	if got != "bababa" { // the kernel's rr begins with the server added last
		t.Errorf("servers in the order of connections: %s, want bababa", got)
	}
}

func TestEcho(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	c := dial(t, s.Addr)
	sent := make([]byte, 3<<20)
	rand.Read(sent)
	go func() {
		c.Write(sent)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("sent %d bytes, got %d back, error %v", len(sent), len(got), err)
	}
}
