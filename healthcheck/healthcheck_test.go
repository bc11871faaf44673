package healthcheck

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Real: netip.MustParseAddrPort(l.Addr().String())}
	probe, err := New(Check{Type: "connect"}, target)
	if err != nil {
		t.Fatal(err)
	}
	if err := probe(within(t, 10*time.Second)); err != nil {
		t.Errorf("a server that listens: %v", err)
	}
	l.Close()
	if err := probe(within(t, 10*time.Second)); Judge(err) != Down {
		t.Errorf("a closed port: %v", err)
	}
}
