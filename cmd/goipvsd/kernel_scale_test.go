package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// many are real servers on ports 10000 and up of one host; those of hole are
// addresses that nobody has: what is sent there is never answered.
func many(n int, hole func(i int) bool) string {
	var b strings.Builder
	b.WriteString("hold_on_mass_failure = 1.0\n[check]\ninterval = \"2s\"\ntimeout = \"30s\"\n")
	for i := range n {
		if i%10 == 0 {
			fmt.Fprintf(&b, "[[virtual]]\nname = \"v%d\"\naddress = \"192.0.2.10:%d\"\nscheduler = \"wrr\"\nforward = \"nat\"\n[virtual.check]\ntype = \"connect\"\n", i/10, 1000+i/10)
		}
		addr := fmt.Sprintf("10.9.0.11:%d", 10000+i)
		if hole(i) {
			addr = fmt.Sprintf("10.9.200.%d:%d", i%250+1, 10000+i)
		}
		fmt.Fprintf(&b, "[[virtual.real]]\naddress = %q\n", addr)
	}
	return b.String()
}

// TestKernelFiveHundred: the baseline of keepalived and ldirectord, 500 real
// servers of which a tenth answers nothing: the others are in soon after the
// start, a reload is quick, and one more death is seen. A
// check has so much time because a busy machine is no dead server. The figures are in the log.
func TestKernelFiveHundred(t *testing.T) {
	const n = 500
	r := newRig(t, topo.Spec{Servers: 1})
	hole := func(i int) bool { return i%10 == 9 }
	listeners := make(map[int]net.Listener)
	for i := range n {
		if hole(i) {
			continue
		}
		l, err := r.net.Servers[0].Listen("tcp", netip.AddrPortFrom(r.net.Servers[0].Addr4, uint16(10000+i)))
		r.must(err)
		listeners[i] = l
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	}
	r.file(many(n, hole))
	began := time.Now()
	r.start()
	r.await("the services are there", func() bool { return strings.Count(r.table(), "192.0.2.10:") >= n/10 })
	t.Logf("start to all 50 services in the kernel: %v", time.Since(began).Round(time.Millisecond))
	weighted := func() int { return strings.Count(r.table()+"\n", " nat 1\n") }
	r.await("450 servers are in", func() bool { return weighted() >= n-n/10 })
	t.Logf("start to 450 of 500 real servers in the kernel: %v, CPU of goipvsd %v", time.Since(began).Round(time.Millisecond), cpuTime(r))

	dead := time.Now()
	r.must(listeners[5].Close())
	r.await("the dead one is out", func() bool {
		d := r.destinations("192.0.2.10:1000")
		return slices.ContainsFunc(d, func(i ipvs.DestinationInfo) bool { return i.Addr.Port() == 10005 && i.Weight == 0 })
	})
	t.Logf("death of one while a tenth is silent: seen after %v", time.Since(dead).Round(time.Millisecond))

	// Of a scheduler that is loaded: what modprobe takes is not ours.
	r.file(many(n, hole) + "[[virtual]]\nname = \"new\"\naddress = \"192.0.2.10:9999\"\nscheduler = \"wrr\"\nforward = \"nat\"\n[virtual.check]\ntype = \"on\"\n[[virtual.real]]\naddress = \"10.9.0.11:10000\"\n")
	began = time.Now()
	r.must(r.cmd.Process.Signal(unix.SIGHUP))
	r.await("the new service is there", func() bool { return len(r.destinations("192.0.2.10:9999")) > 0 })
	t.Logf("reload that adds a service: visible after %v", time.Since(began).Round(time.Millisecond))

	before := cpuTime(r)
	time.Sleep(5 * time.Second) // a measured time, not a wait
	t.Logf("CPU in 5 s: %v; resident memory: %d KiB", cpuTime(r)-before, resident(r))
	if kib := resident(r); kib > 100<<10 {
		t.Errorf("resident memory %d KiB", kib)
	}
}

// destinations are those of one service: looking at all of them would take more
// time than what is measured.
func (r *rig) destinations(service string) []ipvs.DestinationInfo {
	r.Helper()
	d, err := r.client.Destinations(ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort(service)), nil)
	if !errors.Is(err, ipvs.ErrNoService) {
		r.must(err)
	}
	return d
}

func cpuTime(r *rig) time.Duration {
	r.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	r.must(err)
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func resident(r *rig) int {
	r.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	r.must(err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	r.must(err)
	return kib
}
