package dns

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

var _ ipvsadm.HostNames = System{}

// However many addresses do not answer, a listing waits only once.
func TestReverseBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs := make([]netip.Addr, 10_000)
		for i := range addrs {
			addrs[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		names := askAll(ctx, addrs, func(ctx context.Context, a netip.Addr) string {
			if a == addrs[0] {
				return "fast.example.com"
			}
			<-ctx.Done()
			return ""
		})
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		if names[addrs[0]] != "fast.example.com" {
			t.Error("the answer that came in time is lost")
		}
	})
}

// Each address is asked for once, many at a time.
func TestReverseParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := make(map[netip.Addr]int)
		var addrs []netip.Addr
		for i := range 2 * workers {
			addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		}
		start := time.Now()
		askAll(t.Context(), addrs, func(_ context.Context, a netip.Addr) string {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			asked[a]++
			return "x"
		})
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("%d addresses at one second each took %v, want 2s", len(addrs), took)
		}
		if len(asked) != 2*workers || asked[netip.AddrFrom4([4]byte{10, 0, 0, 1})] != 1 {
			t.Errorf("asked %d addresses: %v", len(asked), asked)
		}
	})
}

// one knows one host.
type one struct{}

func (one) Address(name string, f ipvs.Family) (netip.Addr, error) {
	if name == "vip" && f == ipvs.IPv4 {
		return netip.MustParseAddr("10.0.0.1"), nil
	}
	return netip.Addr{}, errors.New("no\nsuch host")
}

func (one) Names(deadline time.Time, _ []netip.Addr) map[netip.Addr]string {
	if left := time.Until(deadline); left <= 0 || left > 2*time.Second {
		return nil
	}
	return map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "vip", netip.MustParseAddr("10.0.0.2"): "a\nb"}
}

func TestServe(t *testing.T) {
	var out bytes.Buffer
	err := Serve(strings.NewReader(`ipv4 vip
ipv6 vip
ipv5 vip

names 2000 10.0.0.1 10.0.0.2 2001:db8::1
names 0 10.0.0.1
names 5000
names x 10.0.0.1
names 1 x
unfinished`), &out, one{})
	want := `10.0.0.1
error no such host
error unknown family "ipv5" (one of ipv4, ipv6)
error not a question
vip - -
-

error strconv.Atoi: parsing "x": invalid syntax
error ParseAddr("x"): unable to parse IP
`
	if diff := cmp.Diff(want, out.String()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
