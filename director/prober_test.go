package director

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// TestProberIsAsked: however often people ask what is known, checks go on. Each
// side has a lock of its own, and they once waited for each other.
func TestProberIsAsked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	id := ServerID{Service: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80")), Addr: at}
	s := Subject{Server: id}
	s.ID = subjectID(id, 0)
	s.Check, s.Target = healthcheck.Check{Type: "connect"}, healthcheck.Target{Real: at}
	s.Schedule = healthcheck.Schedule{Interval: time.Millisecond, Timeout: time.Minute}
	var made atomic.Int64
	p := NewProber(healthcheck.Options{Done: func(string, healthcheck.Result) { made.Add(1) }}, slog.New(slog.DiscardHandler))
	p.replace([]Subject{s})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.runner.Run(ctx) }()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for made.Load() < 200 {
			if list := p.Checks(id); len(list) != 1 {
				t.Errorf("%d checks are known, want one", len(list))
				return
			}
		}
	}()
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("nothing moves any more")
	}
	cancel()
	<-done
}
