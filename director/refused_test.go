package director

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// outside is what a Director has others do.
type outside struct {
	mu   sync.Mutex
	told []string // the last words of notify_up and notify_down
	vips map[netip.Addr]string
}

func (o *outside) options() Options {
	return Options{
		Command: func(c Command) { o.mu.Lock(); defer o.mu.Unlock(); o.told = append(o.told, strings.Join(c.Argv, " ")) },
		VIPs:    func(m map[netip.Addr]string) { o.mu.Lock(); defer o.mu.Unlock(); o.vips = m },
	}
}

// state returns one service of the picture and of what was done outside.
func (f *fixture) state(o *outside, name string) (s control.ServiceStatus, told []string, vips int) {
	f.t.Helper()
	st, err := f.d.Status(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	i := slices.IndexFunc(st.Services, func(s control.ServiceStatus) bool { return s.Name == name })
	o.mu.Lock()
	defer o.mu.Unlock()
	told, o.told = o.told, nil
	return st.Services[i], told, len(o.vips)
}

// noticed is a service with commands and a VIP of its own.
func noticed(v *VirtualService) {
	v.Notify, v.VIPInterface = config.Notify{Up: []string{"up"}, Down: []string{"down"}}, "eth0"
}

// TestRefusedIsNotUp: a service that the kernel refuses is down however well its
// servers are, says why, has no address, and comes up when the kernel takes it.
func TestRefusedIsNotUp(t *testing.T) {
	for _, test := range []struct{ op, why string }{
		{"add service", "the kernel does not have the service: ipvs: add service tcp 192.0.2.1:80 wlc: cannot allocate memory"},
		{"add destination", "the kernel gives none of its servers connections: ipvs: add destination 10.0.0.1:80 of tcp 192.0.2.1:80: cannot allocate memory"},
	} {
		t.Run(test.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, o := testService(noticed), &outside{}
				k := ipvstest.New(ipvstest.Options{})
				k.Inject(ipvstest.Fault{Op: test.op, Times: -1, Err: unix.ENOMEM})
				f := startWith(t, k, setupOf(v), o.options())
				f.verdict(v, Up, 1, 2, 3)
				s, told, vips := f.state(o, "web")
				if s.State != "down" || s.Refused == "" || !slices.Equal(told, []string{"down"}) {
					t.Errorf("refused: %s, refused %q, told %q", s.State, s.Refused, told)
				}
				if there := test.op != "add service"; (vips == 1) != there {
					t.Errorf("%d addresses while refused", vips)
				}
				e, err := f.d.Explain("web", "", nil)
				if err != nil || !slices.ContainsFunc(e.Services[0].Timeline, func(e control.Event) bool {
					return e.Event == "service_down" && strings.HasPrefix(e.Reason, test.why)
				}) {
					t.Errorf("explain: %+v, %v", e.Services, err)
				}
				k.Heal()
				time.Sleep(time.Minute)
				f.holds("192.0.2.1:80 1:1 2:2 3:3")
				if s, told, vips := f.state(o, "web"); s.State != "up" || s.Refused != "" || !slices.Equal(told, []string{"up"}) || vips != 1 {
					t.Errorf("taken: %s, refused %q, told %q, %d addresses", s.State, s.Refused, told, vips)
				}
			})
		})
	}
}

// TestRefusedChange: the kernel goes on with what it has when it refuses a change,
// so the service stays up.
func TestRefusedChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, o := testService(noticed), &outside{}
		f := startWith(t, ipvstest.New(ipvstest.Options{}), setupOf(v), o.options())
		f.verdict(v, Up, 1, 2, 3)
		next := testService(noticed, func(v *VirtualService) { v.Service.Scheduler = "nosuch" })
		if _, err := f.d.Reload(setupOf(next), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s, told, vips := f.state(o, "web"); s.State != "up" || s.Refused == "" || !slices.Equal(told, []string{"up"}) || vips != 1 {
			t.Errorf("%s, refused %q, told %q, %d addresses", s.State, s.Refused, told, vips)
		}
	})
}

// TestLostAndRefused: a service that somebody removes is mended before anybody is
// told; where it cannot be it is down. Its address follows, that of another stays.
func TestLostAndRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, o := testService(noticed), &outside{}
		other := testService(noticed, named("other", "192.0.2.2:80"))
		f := startWith(t, ipvstest.New(ipvstest.Options{}), setupOf(v, other), o.options())
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(other, Up, 1, 2, 3)
		f.state(o, "web")
		remove := func() {
			err := f.k.Other().Apply(slices.Values([]ipvs.Change{{Op: ipvs.DeleteService, Service: v.Service}}))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		remove()
		if s, told, vips := f.state(o, "web"); s.State != "up" || told != nil || vips != 2 {
			t.Errorf("mended: %s, told %q, %d addresses", s.State, told, vips)
		}
		f.k.Inject(ipvstest.Fault{Op: "add service", Times: -1, Err: unix.ENOMEM})
		remove()
		if s, told, vips := f.state(o, "web"); s.State != "down" || !slices.Equal(told, []string{"down"}) || vips != 1 {
			t.Errorf("not mended: %s, told %q, %d addresses", s.State, told, vips)
		}
		if s, _, _ := f.state(o, "other"); s.State != "up" {
			t.Errorf("the other service: %s", s.State)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if list := slices.Collect(maps.Keys(o.vips)); !slices.Equal(list, []netip.Addr{other.Service.Addr.Addr()}) {
			t.Errorf("addresses %v", list)
		}
	})
}

// TestReportedIsNotUp: where drift is only reported a service that somebody
// removed is down, until they put it back.
func TestReportedIsNotUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, o := testService(noticed), &outside{}
		setup := setupOf(v)
		setup.Settings.ReportDrift = true
		f := startWith(t, ipvstest.New(ipvstest.Options{}), setup, o.options())
		f.verdict(v, Up, 1, 2, 3)
		f.state(o, "web")
		hand := f.k.Other()
		was, err := ipvs.Read(hand)
		if err != nil {
			t.Fatal(err)
		}
		if err := hand.Apply(slices.Values([]ipvs.Change{{Op: ipvs.DeleteService, Service: v.Service}})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		f.verdict(v, Down, 1)
		if s, told, vips := f.state(o, "web"); s.State != "down" || !slices.Equal(told, []string{"down"}) || vips != 0 {
			t.Errorf("removed: %s, told %q, %d addresses", s.State, told, vips)
		}
		if _, err := ipvs.Reconcile(hand, was.Table, ipvs.ReconcileOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if s, told, vips := f.state(o, "web"); s.State != "up" || !slices.Equal(told, []string{"up"}) || vips != 1 {
			t.Errorf("put back: %s, told %q, %d addresses", s.State, told, vips)
		}
	})
}
