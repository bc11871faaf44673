package main

import (
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
)

var restored = flag.Int("restored", 130, "services of TestKernelPlaneRestore")

// TestKernelPlaneRestore: a rules file of more services than a request has room
// for, with ten servers each, by -R: as NAT without goipvsd, and as full NAT in
// the kernel, and all taken away again. -v has the times.
func TestKernelPlaneRestore(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables")
	}
	r := newPlanesRig(t, false)
	r.must(r.net.Director.Do(func() error { return snat.Check(snat.Need{Family: ipvs.IPv4}) })) // a busy lab takes its time to load modules
	r.file("max_removal = 1.0\n")
	r.start()
	var plain, full, gone strings.Builder
	for i := range *restored {
		vip := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)}), 80)
		fmt.Fprintf(&plain, "-A -t %s -s rr\n", vip)
		fmt.Fprintf(&full, "-A -t %[1]s -s rr --fullnat\n-P -t %[1]s -z %[2]s\n-P -t %[1]s -z %[3]s\n", vip, r.locals[0], r.locals[1])
		fmt.Fprintf(&gone, "-D -t %s\n", vip)
		for j := range byte(10) {
			rs := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 3, j}), 80)
			fmt.Fprintf(&plain, "-a -t %s -r %s -m\n", vip, rs)
			fmt.Fprintf(&full, "-a -t %s -r %s -b\n", vip, rs)
		}
	}
	timed := func(what, in, line string) string {
		t.Helper()
		began := time.Now()
		out := r.oneShot(0, in, line)
		t.Logf("%s: %d services in %v", what, *restored, time.Since(began).Round(time.Millisecond))
		return out
	}
	has := func(services, rules int) {
		t.Helper()
		if n := strings.Count(r.table(), "tcp "); n != services {
			t.Errorf("the kernel has %d services, want %d", n, services)
		}
		r.must(r.net.Director.Do(func() error {
			have, err := new(snat.Plane).Services()
			if len(have) != rules {
				t.Errorf("there are rules for %d services, want %d", len(have), rules)
			}
			return err
		}))
	}
	timed("NAT, -R", plain.String(), "-R")
	has(*restored, 0)
	timed("NAT, -C", "", "-C")
	timed("full NAT, -R", full.String(), "-R")
	has(*restored, *restored)
	if out := timed("full NAT, -S", "", "-S -n"); strings.Count(out, " -b ") != 10**restored {
		t.Errorf("%d servers are saved, want %d", strings.Count(out, " -b "), 10**restored)
	}
	timed("full NAT, -D of all, -R", gone.String(), "-R")
	has(0, 0)
}
