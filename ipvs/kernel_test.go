package ipvs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dial gives a client on an empty table.
func dial(t testing.TB) *ipvs.Client {
	t.Helper()
	lab.Need(t)
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

var web = ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80"))

func addService(k ipvs.ServiceKey) ipvs.Change {
	return ipvs.Change{Op: ipvs.AddService, Service: ipvs.Service{ServiceKey: k, Scheduler: "wlc"}}
}

// toDest is a change of the i-th destination of web.
func toDest(op ipvs.Op, i int) ipvs.Change {
	a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return ipvs.Change{Op: op, Service: ipvs.Service{ServiceKey: web},
		Destination: ipvs.Destination{Addr: netip.AddrPortFrom(a, 80), Weight: 1}}
}

func apply(t testing.TB, c *ipvs.Client, changes ...ipvs.Change) {
	t.Helper()
	if err := c.Apply(slices.Values(changes)); err != nil {
		t.Fatal(err)
	}
}

func TestKernelAddList(t *testing.T) {
	c := dial(t)
	s := ipvs.Service{ServiceKey: web, Scheduler: "wlc"}
	d := ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.1:8080"), Weight: 70000}
	apply(t, c, ipvs.Change{Op: ipvs.AddService, Service: s}, ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d})
	values := cmpopts.EquateComparable(netip.AddrPort{}, ipvs.Netmask{})
	services, err := c.Services()
	if diff := cmp.Diff([]ipvs.ServiceInfo{{Service: s}}, services, values); diff != "" || err != nil {
		t.Errorf("services: %v\n%s", err, diff)
	}
	dests, err := c.Destinations(web, nil)
	if diff := cmp.Diff([]ipvs.DestinationInfo{{Destination: d}}, dests, values); diff != "" || err != nil {
		t.Errorf("destinations: %v\n%s", err, diff)
	}
}

// Listings of many parts come whole when nobody else writes.
func TestKernelLongListing(t *testing.T) {
	c := dial(t)
	const n = 5000
	apply(t, c, addService(web))
	if err := c.Apply(func(yield func(ipvs.Change) bool) {
		for i := range n {
			if !yield(toDest(ipvs.AddDestination, i+1)) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	list, err := c.Destinations(web, nil)
	if len(list) != n || err != nil {
		t.Fatalf("%d destinations, %v", len(list), err)
	}
	for i, d := range list { // the kernel puts new ones first
		if want := toDest(0, n-i).Destination.Addr; d.Addr != want {
			t.Fatalf("destination %d is %s, want %s", i, d.Addr, want)
		}
	}
	if allocs := testing.AllocsPerRun(3, func() { _, _ = c.Destinations(web, list[:0]) }); allocs != 0 {
		t.Errorf("listing into a buffer allocates %v times", allocs)
	}
}

// While another client adds and deletes, a listing has nothing twice and no
// entry that never was; and with [ipvs.Read] nothing that stays is missing.
func TestKernelListingUnderChurn(t *testing.T) {
	c := dial(t)
	apply(t, c, addService(web))
	const stable, coming = 400, 40
	for i := range stable {
		apply(t, c, toDest(ipvs.AddDestination, 1000+i))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go churn(t, stop, done, coming)
	missed := 0
	for range 30 {
		list, err := c.Destinations(web, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[netip.AddrPort]bool{}
		lasting := 0
		for _, d := range list {
			if seen[d.Addr] {
				t.Fatalf("%s is there twice", d.Addr)
			}
			seen[d.Addr] = true
			if b := d.Addr.Addr().As4(); int(b[2])<<8|int(b[3]) >= 1000 {
				lasting++
			}
		}
		if len(seen) > stable+coming || lasting > stable {
			t.Fatalf("%d destinations, %d of them lasting", len(seen), lasting)
		}
		if lasting < stable {
			missed++
		}
	}
	t.Logf("%d of 30 listings missed destinations that never went", missed)
	close(stop)
	<-done
}

// churn adds and deletes n destinations by a client of its own until stop.
func churn(t *testing.T, stop <-chan struct{}, done chan<- struct{}, n int) {
	defer close(done)
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for {
		for _, op := range []ipvs.Op{ipvs.AddDestination, ipvs.DeleteDestination} {
			for i := range n {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.Do(toDest(op, i+1)); err != nil && !errors.Is(err, ipvs.ErrExists) {
					t.Error(err)
					return
				}
			}
		}
	}
}

func TestKernelConcurrentUse(t *testing.T) {
	c := dial(t)
	apply(t, c, addService(web))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			mine := func(op ipvs.Op, i int) ipvs.Change { return toDest(op, g*100+i+1) }
			for i := range 50 {
				if err := c.Do(mine(ipvs.AddDestination, i)); err != nil {
					t.Error(err)
				}
				if err := c.Do(mine(ipvs.AddDestination, i)); !errors.Is(err, ipvs.ErrExists) {
					t.Errorf("twice: %v", err)
				}
				if _, err := c.Service(web); err != nil {
					t.Error(err)
				}
			}
			if list, err := c.Destinations(web, nil); err != nil || len(list) < 50 {
				t.Errorf("%d destinations, %v", len(list), err)
			}
		})
	}
	wg.Wait()
	if list, err := c.Destinations(web, nil); err != nil || len(list) != 400 {
		t.Errorf("%d destinations, %v", len(list), err)
	}
}

func TestKernelNetns(t *testing.T) {
	here := dial(t)
	path := newNamespace(t)
	there, err := ipvs.Dial(ipvs.Options{Netns: path})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	for range 20 { // from whichever thread
		done := make(chan error)
		go func() { done <- there.Do(addService(web)) }()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if s, err := here.Services(); len(s) != 0 || err != nil {
			t.Fatalf("%v, %v: the service is in the wrong namespace", s, err)
		}
		if err := there.Do(ipvs.Change{Op: ipvs.DeleteService, Service: ipvs.Service{ServiceKey: web}}); err != nil {
			t.Fatal(err)
		}
	}
	own, err := ipvs.Dial(ipvs.Options{Netns: "/proc/self/ns/net"})
	if err != nil {
		t.Fatal(err)
	}
	own.Close()
}

func TestKernelNetnsErrors(t *testing.T) {
	lab.Need(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"/run/netns/nosuch": fs.ErrNotExist,
		file:                ipvs.ErrInvalid,
		"/proc/self/ns/uts": ipvs.ErrInvalid,
	} {
		_, err := ipvs.Dial(ipvs.Options{Netns: path})
		var op *ipvs.OpError
		if !errors.Is(err, want) || !errors.As(err, &op) || op.Object != path {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// newNamespace makes a network namespace that lives as long as the test.
func newNamespace(t *testing.T) (path string) {
	t.Helper()
	made, end := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = loopback()
		}
		path = fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		made <- err
		<-end
	}()
	t.Cleanup(func() { close(end) })
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	return path
}

// loopback brings lo up: IPVS takes no destination in a namespace without.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func TestKernelPermission(t *testing.T) {
	before := dial(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: it has lost its capabilities
		if err := dropCapabilities(); err != nil {
			t.Error(err)
			return
		}
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, listErr := c.Services()
		_, destErr := c.Destinations(web, nil)
		for what, err := range map[string]error{
			"do": c.Do(addService(web)), "list": listErr, "destinations": destErr, "flush": c.Flush(),
			"a socket that was open before": before.Do(addService(web)),
		} {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v", what, err)
			}
		}
		err = c.Apply(slices.Values(slices.Repeat([]ipvs.Change{addService(web)}, 3000)))
		var op *ipvs.OpError
		if !errors.As(err, &op) || op.Op != "apply changes" || !errors.Is(err, ipvs.ErrPermission) {
			t.Errorf("apply: %v", err)
		}
	}()
	<-done
}

// dropCapabilities takes all capabilities from the calling thread.
func dropCapabilities() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&h, &none[0])
}
