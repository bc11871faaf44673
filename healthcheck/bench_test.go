package healthcheck

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkConnect is one connect check of a server on loopback.
func BenchmarkConnect(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	p, err := prepareCheck(Check{Type: "connect"})
	if err != nil {
		b.Fatal(err)
	}
	target := Target{Real: netip.MustParseAddrPort(l.Addr().String())}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		if res := p.run(ctx, target); res.Err != nil {
			b.Fatal(res.Err)
		}
		cancel()
	}
}
