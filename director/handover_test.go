package director

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"github.com/google/go-cmp/cmp"
)

// TestYield: a Director that takes another's place knows what that knew: since
// when servers are up and down and why, how far a slow start has come, since when
// a mass failure is held, what happened before. It changes nothing in the kernel
// that the other would not have changed, and tells nothing as news.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := ipvstest.New(ipvstest.Options{})
		v := testService(fallback, func(v *VirtualService) { v.SlowStart = 30 * time.Second })
		setup := setupOf(v)
		setup.Settings.HoldShare = 0.5
		f := start(t, k, setup, Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Down, 3)
		time.Sleep(20 * time.Second)
		f.verdict(v, Up, 3)
		time.Sleep(20 * time.Second)
		f.verdict(v, Down, 1, 2)
		f.holds("192.0.2.1:80 1:1 2:2 3:2") // held, and 3 on its way up
		if f.seen(HoldBegan) != 1 {
			t.Fatal("no mass failure")
		}
		before, err := f.d.Status(nil)
		if err != nil {
			t.Fatal(err)
		}

		if err := f.d.Yield(func(Persistent, *Knowledge) bool { time.Sleep(5 * time.Second); return false }); err != nil {
			t.Errorf("a Director that goes on after all: %v", err)
		}
		f.holds("192.0.2.1:80 1:1 2:2 3:2")
		var text []byte
		var p Persistent
		if err := f.d.Yield(func(q Persistent, known *Knowledge) bool {
			p = q
			text, err = json.Marshal(known)
			return err == nil
		}); err != nil && !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		if err := f.stop(); !errors.Is(err, ErrYielded) {
			t.Errorf("error %v, want %v", err, ErrYielded)
		}
		if _, err := f.d.Status(nil); !errors.Is(err, ErrStopped) {
			t.Errorf("status of the old one: %v, want %v", err, ErrStopped)
		}
		known := new(Knowledge)
		if err := json.Unmarshal(text, known); err != nil {
			t.Fatal(err)
		}
		n := startWith(t, k, setup, Options{Restored: p, Known: known})
		n.holds("192.0.2.1:80 1:1 2:2 3:2")
		after, err := n.d.Status(nil)
		if err != nil {
			t.Fatal(err)
		}
		before.Time, after.Time = time.Time{}, time.Time{}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("status (-before +after):\n%s", diff)
		}
		for _, kind := range []*EventKind{ServerAdopted, ServiceUp, ServiceDown, FallbackOn, HoldBegan, ServerDown} {
			if n.seen(kind) != 0 {
				t.Errorf("%s is told again", kind.Name)
			}
		}
		time.Sleep(6 * time.Second)
		n.holds("192.0.2.1:80 1:1 2:2 3:3") // 30 s after it came back
		x, err := n.d.Explain("10.0.0.1", "", nil)
		if err != nil || len(x.Servers) != 1 {
			t.Fatalf("%v, %v", x, err)
		}
		var names []string
		for _, e := range x.Servers[0].Timeline {
			names = append(names, e.Event)
		}
		if diff := cmp.Diff([]string{"server_up", "server_down"}, names); diff != "" {
			t.Errorf("what happened (-want +got):\n%s", diff)
		}
		time.Sleep(150 * time.Second) // ten windows after the hold began
		n.holds("192.0.2.1:80 1:0 2:0 3:3")
	})
}
