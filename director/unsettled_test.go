package director

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestUnsettled: while listings never agree, what one of them lacks is no drift,
// it is said once, and nothing is lost when it is over.
func TestUnsettled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.missing(v, 0)
		time.Sleep(time.Minute)
		if n := f.seen(Drift); n != 0 {
			t.Errorf("%d times drift of servers that were there", n)
		}
		if n := f.seen(Unsettled); n != 1 {
			t.Errorf("%d times unsettled", n)
		}
		f.verdict(v, Down, 2)
		f.whole()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f.holds("192.0.2.1:80 1:1 2:0 3:3")
		if n := f.seen(Drift) + f.seen(KernelRefused); n != 0 {
			t.Errorf("%d times drift or a refusal", n)
		}
	})
}

// TestUnsettledDrain: a service that leaves is not removed because listings lack
// the server that still has connections.
func TestUnsettledDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(drain), testService(named("other", "192.0.2.2:80"))
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v, w), Persistent{})
		f.verdict(v, Up, 1)
		f.k.CountDestination(v.Key(), addr(1), ipvstest.Load{Active: 1})
		if _, err := f.d.Reload(setupOf(w), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		f.missing(v, 0)
		time.Sleep(20 * time.Second)
		f.whole()
		f.holds("192.0.2.1:80 1:0\n192.0.2.2:80")
	})
}

// missing has every other listing of a service's destinations lack one of them.
func (f *fixture) missing(v *VirtualService, position int) {
	n := 0
	f.k.OnCall(func(c ipvstest.Call) {
		if c.Op != "list destinations" || c.Object != v.Key().String() {
			return
		}
		if n++; n%2 == 1 {
			f.k.Inject(ipvstest.Fault{Op: c.Op, Object: c.Object, Show: ipvstest.Skip(position)})
		}
	})
}

// whole ends missing.
func (f *fixture) whole() {
	synctest.Wait()
	f.k.OnCall(nil)
	f.k.Heal()
}

// TestReloadAdoptsUnderChurn: a service that comes in by a reload is taken over
// with all servers that the kernel has, though a listing misses one.
func TestReloadAdoptsUnderChurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(), testService(named("other", "192.0.2.2:80"))
		k := ipvstest.New(ipvstest.Options{})
		for _, c := range []ipvs.Change{
			{Op: ipvs.AddService, Service: v.Service},
			{Op: ipvs.AddDestination, Service: v.Service, Destination: v.Servers[0].Destination},
			{Op: ipvs.AddDestination, Service: v.Service, Destination: v.Servers[1].Destination},
		} {
			if err := k.Other().Do(c); err != nil {
				t.Fatal(err)
			}
		}
		f := start(t, k, setupOf(w), Persistent{})
		k.Inject(ipvstest.Fault{Op: "list destinations", Object: v.Key().String(), Show: ipvstest.Skip(0)})
		if _, err := f.d.Reload(setupOf(v, w), false); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:1 2:2\n192.0.2.2:80")
	})
}
