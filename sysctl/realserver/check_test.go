package realserver_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl/realserver"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// How long to listen: others take their time, the host itself answers at once.
const (
	long  = 2 * time.Second
	short = 200 * time.Millisecond
)

func (f *farm) check(t *testing.T, s *topo.Host, wait time.Duration, vips ...netip.Addr) (proofs []realserver.Proof) {
	t.Helper()
	do(t, s, func() (err error) { proofs, err = f.host().Check(wait, vips...); return err })
	return proofs
}

// TestKernelCheck: the host proves by itself what neighbours would hear.
func TestKernelCheck(t *testing.T) {
	f := newFarm(t, topo.Spec{Servers: 2, IPv6: true})
	s := f.Servers[0]
	vips := []netip.Addr{f.VIP4, f.VIP6}
	f.add(t, s, realserver.Spec{}, vips...)
	for _, p := range f.check(t, s, long) {
		if !p.Good || len(p.Said) != 0 || !cmp.Equal(p.Asked, []string{"eth0"}) {
			t.Errorf("set up right: %+v", p)
		}
		if len(p.Others) != 1 || topo.MAC(p.Others[0].MAC) != f.Director.MAC {
			t.Errorf("%s: others that answer: %v, want the director", p.VIP, p.Others)
		}
	}
	if err := s.Sysctl("net.ipv4.conf.all.arp_ignore", "0"); err != nil {
		t.Fatal(err)
	}
	p := f.check(t, s, short, f.VIP4)[0]
	problems := strings.Join(p.Problems, "\n")
	if p.Good || !strings.Contains(problems, "this host claims it: ARP reply on eth0 from "+s.MAC.String()) ||
		!strings.Contains(problems, "effective eth0 arp_ignore 0 lets this host speak") {
		t.Errorf("arp_ignore=0: %+v", p)
	}
	if err := s.Sysctl("net.ipv4.conf.all.arp_ignore", "1"); err != nil {
		t.Fatal(err)
	}
	// IPv6 answers for addresses of the interface.
	if err := s.AddAddr("eth0", netip.PrefixFrom(f.VIP6, 128)); err != nil {
		t.Fatal(err)
	}
	p = f.check(t, s, short, f.VIP6)[0]
	problems = strings.Join(p.Problems, "\n")
	if p.Good || !strings.Contains(problems, "this host claims it: neighbour advertisement on eth0") || !strings.Contains(problems, "it is on eth0") {
		t.Errorf("VIP on eth0: %+v", p)
	}
}

// TestKernelCheckOthers: another real server that answers is named.
func TestKernelCheckOthers(t *testing.T) {
	f := newFarm(t, topo.Spec{Servers: 2})
	do(t, f.Servers[1], func() error { _, err := vip.Add(f.VIP4, "lo"); return err })
	f.add(t, f.Servers[0], realserver.Spec{}, f.VIP4)
	p := f.check(t, f.Servers[0], long, f.VIP4)[0]
	if p.Good || len(p.Problems) != 1 || !strings.Contains(p.Problems[0], f.Servers[1].MAC.String()) {
		t.Errorf("%+v", p)
	}
	p = f.check(t, f.Servers[0], short, netip.MustParseAddr("192.0.2.99"))[0]
	if p.Good || p.Problems[0] != "it is not on this host, which drops packets for it" {
		t.Errorf("a VIP that is not there: %+v", p)
	}
}
