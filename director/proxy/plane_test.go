package proxy

import (
	"bufio"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestPlane: the engine is read, planned for and changed as a kernel is, and
// serves what it is made to hold.
func TestPlane(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello\n"))
			c.Close()
		}
	}()
	vip := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), testserver.Port(t))
	rs := netip.MustParseAddrPort(server.Addr().String())
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, vip), Scheduler: "wlc"}
	want := ipvs.Table{{Service: s, Destinations: []ipvs.Destination{{Addr: rs, Method: ipvs.FullNAT, Weight: 1}}}}
	r, err := ipvs.Reconcile(p, want, ipvs.ReconcileOptions{})
	if err != nil || len(r.Made) != 2 {
		t.Fatalf("%v, %v", r.Made, err)
	}
	if r, err := ipvs.Reconcile(p, want, ipvs.ReconcileOptions{}); err != nil || len(r.Made) != 0 {
		t.Errorf("a second time: %v, %v", r.Made, err)
	}
	c, err := net.DialTimeout("tcp", vip.String(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("%q, %v", line, err)
	}
	dests, err := p.Destinations(s.ServiceKey, nil)
	if err != nil || len(dests) != 1 || dests[0].Stats.Conns != 1 {
		t.Errorf("%+v, %v", dests, err)
	}
	server.Close()
	if c, err = net.DialTimeout("tcp", vip.String(), 30*time.Second); err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if failed := p.Failures(s.ServiceKey); !maps.Equal(failed, map[netip.AddrPort]uint64{rs: 1}) {
		t.Errorf("%v after %v, want one connect to %s that failed", failed, err, rs)
	}
	if r, err := ipvs.Reconcile(p, nil, ipvs.ReconcileOptions{}); err != nil || len(r.Made) != 1 {
		t.Errorf("%v, %v", r.Made, err)
	}
	if text, _ := ipvstest.Text(p); text != "" {
		t.Errorf("left over: %s", text)
	}
}

// TestErrors are those of the kernel, and what the engine refuses is a refusal
// of that service alone.
func TestErrors(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("127.0.0.1:1")), Scheduler: "wlc"}
	d := ipvs.Destination{Addr: netip.MustParseAddrPort("127.0.0.1:9"), Method: ipvs.FullNAT, Weight: 1}
	for _, tt := range []struct {
		change ipvs.Change
		want   error
	}{
		{ipvs.Change{Op: ipvs.AddService, Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.SCTP, netip.MustParseAddrPort("127.0.0.1:1")), Scheduler: "rr"}}, fullnat.ErrUnsupported},
		{ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d}, ipvs.ErrNoService},
		{ipvs.Change{Op: ipvs.DeleteService, Service: s}, ipvs.ErrNoService},
	} {
		err := p.Apply(slices.Values([]ipvs.Change{tt.change}))
		var batch *ipvs.BatchError
		if !errors.As(err, &batch) || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.change, err, tt.want)
		}
	}
	if list, err := p.Services(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestOrder: servers are listed as a kernel lists them, the newest first.
func TestOrder(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), testserver.Port(t))), Scheduler: "rr"}
	changes := []ipvs.Change{{Op: ipvs.AddService, Service: s}}
	for _, a := range []string{"127.0.0.2:9", "127.0.0.4:9", "127.0.0.3:9"} {
		d := ipvs.Destination{Addr: netip.MustParseAddrPort(a), Method: ipvs.FullNAT, Weight: 1}
		changes = append(changes, ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d})
	}
	if err := p.Apply(slices.Values(changes)); err != nil {
		t.Fatal(err)
	}
	list, err := p.Destinations(s.ServiceKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.Addr.String())
	}
	if want := []string{"127.0.0.3:9", "127.0.0.4:9", "127.0.0.2:9"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
