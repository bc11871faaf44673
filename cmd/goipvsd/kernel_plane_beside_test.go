package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/internal/lab"
)

// TestKernelPlaneBeside: who serves where services in the kernel and in user space
// are of the same packets: IPVS, which sees them before sockets do. Where that is
// not what is asked for, and can be known, status says so.
func TestKernelPlaneBeside(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables")
	}
	r := newPlanesRig(t, false)
	for _, h := range r.net.Servers {
		_, err := h.Serve("tcp", 81)
		r.must(err)
	}
	r.file("max_removal = 1.0\nreconcile = \"1s\"\n")
	r.start()
	r.must(r.net.Director.Mark("tcp", netip.AddrPortFrom(r.vip, 80), 7))
	names := map[netip.Addr]string{r.locals[0]: "kernel", r.locals[1]: "user space"}
	ask := func(port uint16) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a, err := r.net.Client.Ask(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(r.vip, port))
		if err != nil && !strings.Contains(err.Error(), syscall.ECONNREFUSED.Error()) {
			t.Error(err)
		}
		return names[a.Remote.Addr()]
	}
	rules := func(service, plane string, local netip.Addr) string {
		return fmt.Sprintf("-A %[1]s -s rr -p 300 --fullnat --plane %[2]s\n-P %[1]s -z %[3]s\n-a %[1]s -r %[4]s:0 -b\n", service, plane, local, r.servers[0])
	}
	const exact, every, mark = "-t 192.0.2.10:80", "-t 192.0.2.10:0", "-f 7" // of packets to port 80
	for _, test := range []struct{ kernel, user, port80, port81, status string }{
		{exact, every, "kernel", "user space", ""},
		{every, exact, "kernel", "kernel", "the kernel has a service of every port of this address"},
		{mark, exact, "kernel", "", ""},
		{mark, every, "kernel", "user space", ""},
		{exact, mark, "kernel", "", ""}, // where both planes were one the mark would go first
		{every, mark, "kernel", "kernel", ""},
	} {
		r.oneShot(0, rules(test.kernel, "kernel", r.locals[0])+rules(test.user, "userspace", r.locals[1]), "-R")
		if at80, at81 := ask(80), ask(81); at80 != test.port80 || at81 != test.port81 {
			t.Errorf("kernel %s, user space %s: port 80 %q, port 81 %q", test.kernel, test.user, at80, at81)
		}
		if test.status != "" {
			r.await("status says so", func() bool { return strings.Contains(r.ok("status", "--problems"), test.status) })
		} else if out := r.ok("status"); strings.Contains(out, "every port of this address") {
			t.Errorf("kernel %s, user space %s: status says\n%s", test.kernel, test.user, out)
		}
		r.oneShot(0, "-D "+test.kernel+"\n-D "+test.user+"\n", "-R")
	}
}

// TestKernelPlaneSaved: services of firewall marks and of port 0 in both planes,
// with what they may have, go by -C and come back by -R as -S has them.
func TestKernelPlaneSaved(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables")
	}
	r := newPlanesRig(t, false)
	r.file("max_removal = 1.0\n")
	r.start()
	const rules = `-A -t 192.0.2.10:0 -s wlc -p 300 -M 255.255.255.0 --fullnat
-P -t 192.0.2.10:0 -z 10.9.1.1
-P -t 192.0.2.10:0 -z 10.9.1.2
-a -t 192.0.2.10:0 -r 10.9.0.11:0 -b -w 3 -x 100 -y 50
-a -t 192.0.2.10:0 -r 10.9.0.12:0 -b -w 0
-A -t 192.0.2.11:0 -s sh -p 60 -b sh-fallback --fullnat --proxy-protocol v2 --plane userspace
-P -t 192.0.2.11:0 -z 10.9.1.1
-a -t 192.0.2.11:0 -r 10.9.0.11:0 -b -w 1 -x 7 -y 2
-A -f 7 -s rr --fullnat
-P -f 7 -z 10.9.1.1
-a -f 7 -r 10.9.0.11:80 -b -w 1
-a -f 7 -r 10.9.0.12:0 -b -w 2 -x 9
-A -f 8 -s rr -p 360 --fullnat --proxy-protocol v2-every --plane userspace
-P -f 8 -z 10.9.1.2
-a -f 8 -r 10.9.0.11:0 -b -w 1
-A -f 9 -s rr -o --fullnat --proxy-protocol v2-every --plane userspace
-a -f 9 -r 10.9.0.11:0 -b -w 1
-A -f 7 -6 -s rr --fullnat
-P -f 7 -6 -z fd09::1:1
-a -f 7 -6 -r [fd09::11]:0 -b -w 1
-A -f 8 -6 -s mh -b mh-port --fullnat --plane userspace
-a -f 8 -6 -r [fd09::11]:80 -b -w 1
-a -f 8 -6 -r 10.9.0.11:80 -b -w 1
`
	r.oneShot(0, rules, "-R")
	saved := r.oneShot(0, "", "-S -n")
	for line := range strings.Lines(rules) {
		if !strings.Contains(saved, line) {
			t.Errorf("no %q", line)
		}
	}
	if strings.Count(saved, "\n") != strings.Count(rules, "\n") {
		t.Errorf("-S prints\n%s", saved)
	}
	runs := func() (planes string) {
		st, err := r.status()
		r.must(err)
		for _, s := range st.Services {
			planes += s.Service + ": " + s.Plane + s.PlaneReason + "\n"
		}
		return planes
	}
	table, planes := r.table(), runs()
	if n := strings.Count(planes, ": kernel"); n != 3 || strings.Count(planes, ": userspace") != 4 {
		t.Errorf("%d services run in the kernel:\n%s", n, planes)
	}
	r.oneShot(0, "", "-C")
	if left := r.oneShot(0, "", "-S -n"); left != "" || r.table() != "" {
		t.Errorf("after -C there is\n%s%s", left, r.table())
	}
	r.must(r.net.Director.Do(func() error {
		if d, err := tproxy.Read(); err != nil || len(d) != 0 {
			t.Errorf("after -C packets are brought to user space: %v, %v", d, err)
		}
		return nil
	}))
	r.oneShot(0, saved, "-R")
	if again := r.oneShot(0, "", "-S -n"); again != saved || r.table() != table || runs() != planes {
		t.Errorf("restored:\n%s\n%s\n%s", again, r.table(), runs())
	}
}
