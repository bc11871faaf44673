package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director/store"
	"github.com/goipvs/goipvs/ipvs"
)

// TestNames: an address stays until the resolver says another; that it says
// nothing, or that there is no such name, changes nothing.
func TestNames(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	host := config.Host{Name: "db", Family: ipvs.IPv4}
	n := newNames(map[string]netip.Addr{"db ipv4": one}, slog.New(slog.DiscardHandler))
	var list []netip.Addr
	var fail error
	n.resolve = func(_ context.Context, network, name string) ([]netip.Addr, error) {
		if network != "ip4" || name != "db" {
			t.Errorf("asked for %s %s", network, name)
		}
		return append([]netip.Addr(nil), list...), fail
	}
	for _, step := range []struct {
		what    string
		list    []netip.Addr
		err     error
		changed bool
		want    netip.Addr
	}{
		{"no such name", nil, errors.New("no such host"), false, one},
		{"an empty answer", nil, nil, false, one},
		{"the same", []netip.Addr{one}, nil, false, one},
		{"several, the old among them", []netip.Addr{two, one}, nil, false, one},
		{"another", []netip.Addr{two}, nil, true, two},
		{"several, another one first", []netip.Addr{one, two}, nil, false, two},
		{"mapped", []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.2")}, nil, false, two},
	} {
		list, fail = step.list, step.err
		if got := n.ask(t.Context(), []config.Host{host}); got != step.changed {
			t.Errorf("%s: changed %v", step.what, got)
		}
		if a, ok := n.lookup(host); !ok || a != step.want {
			t.Errorf("%s: %s", step.what, a)
		}
	}
}

// TestSlowResolver: a start does not wait for a resolver that says nothing.
func TestSlowResolver(t *testing.T) { synctest.Test(t, testSlowResolver) }

func testSlowResolver(t *testing.T) {
	n := newNames(nil, slog.New(slog.DiscardHandler))
	n.resolve = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
	hosts := make([]config.Host, 100)
	for i := range hosts {
		hosts[i].Name = string(rune('a' + i))
	}
	began := time.Now()
	n.first(t.Context(), hosts, 50*time.Millisecond)
	if took := time.Since(began); took != 50*time.Millisecond {
		t.Errorf("waited %v, want 50 ms", took)
	}
}

// TestAddressesAreKept: the address that a name had when the daemon started is in
// the state file, for a start without a resolver.
func TestAddressesAreKept(t *testing.T) {
	f := newFixture(t, 1)
	f.write(strings.ReplaceAll(f.text(""), "address = \"127.0.0.1:", "address = \"localhost:"))
	f.start()
	f.has(0, "1")
	f.stop()
	var saved state
	f.must(store.Store{Path: f.path("state/state.json")}.Load(&saved))
	if len(saved.Addresses) != 1 || saved.Addresses["localhost ipv4"] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("saved %v", saved.Addresses)
	}
}
