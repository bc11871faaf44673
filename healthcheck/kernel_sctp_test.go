package healthcheck_test

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
)

// TestKernelSCTP: connect sets up associations, by IPv4 and IPv6, and leaves
// none; a server without SCTP is down, one that is silent runs into the deadline.
func TestKernelSCTP(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 1, IPv6: true})
	must(t, n.Prepare(topo.NAT))
	host := n.Servers[0]
	server, err := host.Serve("sctp", 3868)
	must(t, err)
	defer server.Close()
	look := func(to, from netip.AddrPort, deadline time.Duration) (err error) {
		probe, err := healthcheck.New(healthcheck.Check{Type: "connect", Protocol: "sctp"}, healthcheck.Target{Real: to, Source: from.Addr()})
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		must(t, n.Director.Do(func() error {
			err = probe(ctx)
			return nil
		}))
		return err
	}
	at := netip.AddrPortFrom
	for _, to := range []netip.AddrPort{at(host.Addr4, 3868), at(host.Addr6, 3868)} {
		if err := look(to, netip.AddrPort{}, patience); err != nil {
			t.Errorf("%v: %v", to, err)
		}
	}
	if err := look(at(host.Addr4, 3868), at(n.Director.Addr4, 0), patience); err != nil {
		t.Errorf("from an address: %v", err)
	}
	if err := look(at(host.Addr4, 3868), netip.MustParseAddrPort("203.0.113.7:0"), patience); healthcheck.Judge(err) != healthcheck.Unknown {
		t.Errorf("from an address that we do not have: %v: %v", healthcheck.Judge(err), err)
	}
	err = look(at(host.Addr4, 3869), netip.AddrPort{}, patience)
	if healthcheck.Judge(err) != healthcheck.Down || healthcheck.Class(err) != "refused" {
		t.Errorf("nobody listens: %v: %v", healthcheck.Judge(err), err)
	}
	err = look(netip.MustParseAddrPort("10.9.0.199:3868"), netip.AddrPort{}, time.Second)
	if healthcheck.Judge(err) != healthcheck.Down || !slices.Contains([]string{"timeout", "unreachable"}, healthcheck.Class(err)) {
		t.Errorf("nobody has the address: %v: %v", healthcheck.Judge(err), err)
	}
	if left := associations(t, n); left != "" {
		t.Errorf("associations are left:\n%s", left)
	}
}

// associations are those that the director has.
func associations(t *testing.T, n *topo.Net) string {
	t.Helper()
	var text string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		must(t, n.Director.Do(func() error {
			b, err := os.ReadFile("/proc/thread-self/net/sctp/assocs")
			_, text, _ = strings.Cut(string(b), "\n")
			return err
		}))
		if strings.TrimSpace(text) == "" {
			return ""
		}
	}
	return text
}
