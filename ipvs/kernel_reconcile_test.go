package ipvs_test

import (
	"iter"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestKernelReconcileUnderChurn: another client adds and deletes services and
// servers of its own all the time, at the worst moments, too. Ours end as
// wanted, those of others are not touched, and what stays keeps its counters.
func TestKernelReconcileUnderChurn(t *testing.T) {
	c := dial(t)
	const lasting = 150 // services of others that stay, several parts of a listing
	for i := range lasting {
		apply(t, c, foreign(ipvs.AddService, i), foreign(ipvs.AddDestination, i))
	}
	stable := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("127.0.0.1:5000")), Scheduler: "rr"}
	keeps := ipvs.Destination{Addr: netip.MustParseAddrPort("127.0.0.1:6000"), Weight: 1}
	apply(t, c, ipvs.Change{Op: ipvs.AddService, Service: stable}, ipvs.Change{Op: ipvs.AddDestination, Service: stable, Destination: keeps})
	knock(t, stable.Addr)
	counted(t, c, stable.ServiceKey)

	k := &hasty{Client: c, rude: newRude(t, lasting)}
	stop := k.rude.everywhere(t)
	for round := range 6 {
		moving := ipvs.Service{ServiceKey: web, Scheduler: []string{"rr", "wlc"}[round%2]}
		want := ipvs.Table{
			{Service: stable, Destinations: []ipvs.Destination{keeps}},
			{Service: moving, Destinations: []ipvs.Destination{
				toDest(0, 1).Destination, toDest(0, 2+round%3).Destination, toDest(0, 10+round).Destination}},
		}
		if round%5 == 4 {
			want[1].Destinations = nil
		}
		if _, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{KeepOthers: true}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		holds(t, c, want)
		r, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{KeepOthers: true})
		if err != nil || len(r.Made) > 0 {
			t.Fatalf("round %d, once more: %v, %v", round, r.Made, err)
		}
	}
	stop()
	for i := range lasting {
		if _, err := c.Destinations(foreign(0, i).Service.ServiceKey, nil); err != nil {
			t.Fatalf("a service of others: %v", err)
		}
	}
	list, err := c.Destinations(stable.ServiceKey, nil)
	if err != nil || len(list) != 1 || list[0].Stats.Conns != 1 {
		t.Errorf("%+v, %v: want the one connection from before all changes", list, err)
	}
}

// holds asserts that the services of want are as it says, newest server first.
func holds(t *testing.T, c *ipvs.Client, want ipvs.Table) {
	t.Helper()
	for _, e := range want {
		s, err := c.Service(e.Service.ServiceKey)
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.Destinations(e.Service.ServiceKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ipvs.Entry{Service: s.Service}
		for i := range list {
			got.Destinations = append(got.Destinations, list[i].Destination)
		}
		byAddr := func(a, b ipvs.Destination) int { return a.Addr.Compare(b.Addr) }
		slices.SortFunc(got.Destinations, byAddr)
		slices.SortFunc(e.Destinations, byAddr)
		if diff := cmp.Diff(e, got, cmpopts.EquateComparable(netip.AddrPort{}, ipvs.Netmask{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// knock sends one packet, which makes a connection of IPVS.
func knock(t *testing.T, to netip.AddrPort) {
	t.Helper()
	u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.Write([]byte("knock")); err != nil {
		t.Fatal(err)
	}
}

// counted waits until the kernel shows that connection. It adds its counters up
// every two seconds only (estimation_timer in ip_vs_est.c): what is read sooner
// lacks the connection, and what is zeroed sooner may show it again.
func counted(t *testing.T, c *ipvs.Client, k ipvs.ServiceKey) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		list, err := c.Destinations(k, nil)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if list[0].Stats.Conns == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("one connection was made, counted are %+v", list[0].Stats)
		}
	}
}

// foreign is a change of the i-th service of others, or of its one server.
func foreign(op ipvs.Op, i int) ipvs.Change {
	ch := toDest(op, 1)
	a := netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
	ch.Service = ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(a, 80)), Scheduler: "rr"}
	return ch
}

// rude is somebody else at the table: each step adds some services behind the
// first n and deletes others, which shifts all positions in a listing.
type rude struct {
	client *ipvs.Client
	first  int
	mu     sync.Mutex
	n      int
}

func newRude(t *testing.T, first int) *rude {
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &rude{client: c, first: first}
}

func (r *rude) step() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.first + r.n%64
	op := [...]ipvs.Op{ipvs.AddService, ipvs.DeleteService}[r.n/64%2]
	r.n++
	if op == ipvs.DeleteService {
		return r.client.Do(foreign(op, i))
	}
	return r.client.Apply(slices.Values([]ipvs.Change{foreign(op, i), foreign(ipvs.AddDestination, i)}))
}

// everywhere takes steps without end, until stop.
func (r *rude) everywhere(t *testing.T) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
			}
			if err := r.step(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// hasty is a kernel at which somebody else takes a step before every call.
type hasty struct {
	*ipvs.Client
	rude *rude
}

func (h *hasty) Services() ([]ipvs.ServiceInfo, error) {
	if err := h.rude.step(); err != nil {
		return nil, err
	}
	return h.Client.Services()
}

func (h *hasty) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	if err := h.rude.step(); err != nil {
		return nil, err
	}
	return h.Client.Destinations(k, buf)
}

func (h *hasty) Apply(changes iter.Seq[ipvs.Change]) error {
	if err := h.rude.step(); err != nil {
		return err
	}
	return h.Client.Apply(changes)
}
