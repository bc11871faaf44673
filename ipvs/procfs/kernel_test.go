package procfs_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const director = "/run/netns/director"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// balance sets up services of every kind on the director of a small network,
// with servers that answer.
func balance(t *testing.T) *topo.Net {
	t.Helper()
	n := topotest.New(t, topo.Spec{IPv6: true, Named: true})
	must(t, n.Prepare(topo.NAT))
	for _, server := range []struct {
		network string
		port    uint16
	}{{"tcp", 8080}, {"udp", 53}, {"udp", 5060}} {
		_, err := n.Servers[0].Serve(server.network, server.port)
		must(t, err)
	}
	must(t, n.Director.Mark("tcp", netip.AddrPortFrom(n.VIP4, 8080), 10))

	c, err := ipvs.Dial(ipvs.Options{Netns: director})
	must(t, err)
	defer c.Close()
	add := func(s ipvs.Service, port uint16) {
		t.Helper()
		real := n.Servers[0].Addr4
		if s.AF() == ipvs.IPv6 {
			real = n.Servers[0].Addr6
		}
		must(t, c.Do(ipvs.Change{Op: ipvs.AddService, Service: s}))
		must(t, c.Do(ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: ipvs.Destination{Addr: netip.AddrPortFrom(real, port), Weight: 1}}))
	}
	key := func(p ipvs.Protocol, a netip.Addr, port uint16) ipvs.ServiceKey {
		return ipvs.AddrService(p, netip.AddrPortFrom(a, port))
	}
	add(ipvs.Service{ServiceKey: key(ipvs.TCP, n.VIP4, 80), Scheduler: "rr"}, 8080)
	add(ipvs.Service{ServiceKey: key(ipvs.UDP, n.VIP6, 53), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 100 * time.Second}, 53)
	add(ipvs.Service{ServiceKey: ipvs.MarkService(10, ipvs.IPv4), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 90 * time.Second}, 8080)
	add(ipvs.Service{ServiceKey: key(ipvs.UDP, n.VIP4, 5060), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: 60 * time.Second, PE: "sip"}, 5060)
	return n
}

const invite = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 172.16.0.2:5060\r\n" +
	"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: call-123@example.com\r\nCSeq: 1 INVITE\r\n\r\n"

// talk makes connections of every kind and keeps them open.
func talk(t *testing.T, n *topo.Net) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, to := range []struct {
		network  string
		from     uint16
		vip      netip.Addr
		port     uint16
		question string
	}{
		{"tcp", 40001, n.VIP4, 80, "name"},
		{"udp", 40002, n.VIP6, 53, "name"},
		{"tcp", 40003, n.VIP4, 8080, "name"},
		{"udp", 40004, n.VIP4, 5060, invite},
	} {
		c, err := n.Client.Dial(ctx, to.network, netip.AddrPortFrom(netip.Addr{}, to.from), netip.AddrPortFrom(to.vip, to.port))
		must(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = c.Say(ctx, to.question) // the answer has come: the kernel has the connection
		must(t, err)
	}
}

func connections(t *testing.T, file string) (conns []procfs.Connection) {
	t.Helper()
	f, err := procfs.Open(director, file)
	must(t, err)
	defer f.Close()
	for c, err := range procfs.Connections(f) {
		must(t, err)
		if c.Expires <= 0 || c.Expires > time.Hour {
			t.Errorf("%+v expires in %s", c, c.Expires)
		}
		c.Expires = 0
		conns = append(conns, c)
	}
	slices.SortFunc(conns, func(a, b procfs.Connection) int {
		return strings.Compare(a.Virtual.String()+a.Client.String(), b.Virtual.String()+b.Client.String())
	})
	return conns
}

// Connections and templates of every kind, from a real kernel.
func TestKernelConnections(t *testing.T) {
	n := balance(t)
	talk(t, n)
	at := netip.AddrPortFrom
	c4, c6, r4, r6 := n.Client.Addr4, n.Client.Addr6, n.Servers[0].Addr4, n.Servers[0].Addr6
	want := []procfs.Connection{
		{Client: at(c4, 0), Virtual: netip.MustParseAddrPort("0.0.0.10:0"), Destination: at(r4, 0), State: "ASSURED"},
		{Protocol: ipvs.UDP, Client: at(c4, 0), Virtual: at(n.VIP4, 5060), Destination: at(r4, 5060), State: "ASSURED", PE: "sip", PEData: "call-123@example.com"},
		{Protocol: ipvs.UDP, Client: at(c4, 40004), Virtual: at(n.VIP4, 5060), Destination: at(r4, 5060), State: "UDP"},
		{Protocol: ipvs.TCP, Client: at(c4, 40001), Virtual: at(n.VIP4, 80), Destination: at(r4, 8080), State: "ESTABLISHED"},
		{Protocol: ipvs.TCP, Client: at(c4, 40003), Virtual: at(n.VIP4, 8080), Destination: at(r4, 8080), State: "ESTABLISHED"},
		{Protocol: ipvs.UDP, Client: at(c6, 0), Virtual: at(n.VIP6, 53), Destination: at(r6, 53), State: "ASSURED"},
		{Protocol: ipvs.UDP, Client: at(c6, 40002), Virtual: at(n.VIP6, 53), Destination: at(r6, 53), State: "UDP"},
	}
	compare := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(want, connections(t, procfs.ConnectionFile), compare); diff != "" {
		t.Errorf("ip_vs_conn (-want +got):\n%s", diff)
	}
	for i := range want {
		want[i].PE, want[i].PEData, want[i].Origin = "", "", "LOCAL"
	}
	if diff := cmp.Diff(want, connections(t, procfs.ConnectionSyncFile), compare); diff != "" {
		t.Errorf("ip_vs_conn_sync (-want +got):\n%s", diff)
	}
}

// readStats reads both files until the kernel's estimator has added up the
// processors, which it does every two seconds, for the last of the connections.
func readStats(t *testing.T, conns uint64) (total, same ipvs.Stats, cpus []procfs.CPUStats) {
	t.Helper()
	counted := func(s ipvs.Stats) bool { return s.Conns >= conns && s.InPkts >= conns && s.OutPkts >= conns }
	for deadline := time.Now().Add(time.Minute); !counted(total) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		f, err := procfs.Open(director, procfs.StatsFile)
		must(t, err)
		total, err = procfs.Stats(f)
		must(t, errors.Join(err, f.Close()))
	}
	f, err := procfs.Open(director, procfs.PerCPUStatsFile)
	must(t, err)
	same, cpus, err = procfs.PerCPUStats(f)
	must(t, errors.Join(err, f.Close()))
	return total, same, cpus
}

func TestKernelStats(t *testing.T) {
	n := balance(t)
	talk(t, n)
	total, same, cpus := readStats(t, 4)
	if total.Conns != 4 || total.InPkts < 4 || total.OutPkts < 4 || total.InBytes < total.InPkts*20 || total.OutBytes < total.OutPkts*20 {
		t.Errorf("4 connections were made: %+v", total)
	}
	sum := ipvs.Stats{}
	for _, c := range cpus {
		sum.Conns += c.Stats.Conns
		sum.InPkts += c.Stats.InPkts
	}
	if len(cpus) == 0 || same.Conns != 4 || sum.Conns != 4 || sum.InPkts < same.InPkts {
		t.Errorf("total %+v, processors %+v", same, cpus)
	}

	// The namespace this test runs in has had no traffic.
	own, err := procfs.Open("", procfs.StatsFile)
	must(t, err)
	defer own.Close()
	if total, err = procfs.Stats(own); err != nil || total.Conns != 0 {
		t.Errorf("own namespace: %+v, %v", total, err)
	}
}

func TestKernelNoNamespace(t *testing.T) {
	if _, err := procfs.Open("/run/netns/nowhere", procfs.StatsFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a namespace there is not: %v", err)
	}
	if _, err := procfs.Open("/etc/hosts", procfs.StatsFile); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a file that is no namespace: %v", err)
	}
}

// However often another namespace is visited, no thread of this process is left
// in it.
func TestKernelNamespaceIsLeft(t *testing.T) {
	topotest.New(t, topo.Spec{Named: true})
	home, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	done := make(chan error)
	for range 8 {
		go func() {
			for range 5 {
				f, err := procfs.Open(director, procfs.StatsFile)
				if err == nil {
					err = f.Close()
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		must(t, <-done)
	}
	// The threads that went there end on their own; those that live on are home.
	deadline := time.Now().Add(time.Minute)
	for {
		away := threadsOutside(t, home)
		if len(away) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("threads outside %s: %v", home, away)
		}
		time.Sleep(10 * time.Millisecond) // a thread's end is no event one could wait for
	}
}

func threadsOutside(t *testing.T, home string) (away []string) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, task := range tasks {
		ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && ns != home {
			away = append(away, task.Name()+" "+ns)
		}
	}
	return away
}
