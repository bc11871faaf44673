package doctor_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// Faults of the table, of connections and of knobs, on a director with DR.
func TestKernelTable(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2, Router: true}, topo.DR)
	s.healthy()
	s.try(s.services()...)
	s.try(s.knobs()...)
	s.try(s.bound()...)
	s.try(s.syncs()...)
	s.healthy()
}

func (s *site) services() []fault {
	quiet := func(_ int, d *ipvs.Destination) { d.Weight = 0 }
	one := func(i int, d *ipvs.Destination) { d.Weight = int32(i) }
	rr, sh, mh := s.at(ipvs.TCP, 8001, "rr"), s.at(ipvs.TCP, 8001, "sh"), s.at(ipvs.TCP, 8001, "mh")
	sctp := s.at(ipvs.SCTP, 8001, "rr")
	mark := ipvs.Service{ServiceKey: ipvs.MarkService(7, ipvs.IPv4), Scheduler: "rr"}
	marked := s.with("", mark, s.both(mark, func(int, *ipvs.Destination) {})...)
	marked.name = "marked"
	marked.do = func() {
		s.with("", mark, s.both(mark, func(int, *ipvs.Destination) {})...).do()
		s.must(s.Director.Mark("tcp", netip.AddrPortFrom(s.VIP4, 8009), 7))
	}
	markedToo, unmark := s.filter(s.Director, filterSpec{table: "mangle", hook: "prerouting", rules: []ruleSpec{{to: s.VIP4, mark: 7, verdict: "mark"}}})
	byFilter := fault{name: "marked by the packet filter", on: s.Director,
		do:   func() { s.with("", mark, s.both(mark, func(int, *ipvs.Destination) {})...).do(); markedToo() },
		undo: func() { unmark(); s.remove(mark) }}
	elsewhere, back := s.filter(s.Director, filterSpec{table: "mangle", hook: "prerouting", rules: []ruleSpec{{to: netip.MustParseAddr("192.0.2.99"), mark: 7, verdict: "mark"}}})
	notLocal := fault{want: "fwmark-not-local", on: s.Director,
		do:   func() { s.with("", mark, s.both(mark, func(int, *ipvs.Destination) {})...).do(); elsewhere() },
		undo: func() { back(); s.remove(mark) }}
	routed := notLocal
	routed.want, routed.name = "", "a rule takes the mark for this host"
	routed.do = func() { notLocal.do(); s.must(s.Director.Do(func() error { return markRoute(7, true) })) }
	routed.undo = func() { s.must(s.Director.Do(func() error { return markRoute(7, false) })); notLocal.undo() }
	return []fault{
		notLocal,
		routed,
		s.with("no-usable-server", rr),
		s.with("no-usable-server", rr, s.both(rr, quiet)...),
		s.with("hash-no-fallback", sh, s.both(sh, one)...),
		s.with("hash-no-fallback", mh, s.both(mh, one)...),
		s.with("sctp-multihoming", sctp, s.both(sctp, func(int, *ipvs.Destination) {})...),
		s.with("fwmark-unmarked", mark, s.both(mark, func(int, *ipvs.Destination) {})...),
		byFilter,
		marked,
	}
}

// markRoute has packets with a mark be this host's own: ip rule add fwmark MARK
// lookup 100; ip route add local default dev lo table 100. Or no more.
func markRoute(mark uint32, on bool) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Mark, rule.Table, rule.Family = mark, 100, netlink.FAMILY_V4
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Table: 100, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}
	if !on {
		return errors.Join(netlink.RuleDel(rule), netlink.RouteDel(route))
	}
	return errors.Join(netlink.RuleAdd(rule), netlink.RouteAdd(route))
}

func (s *site) knobs() []fault {
	timeouts := func(tcp time.Duration) func() {
		return func() { s.t.Helper(); s.must(s.ipvs.SetTimeouts(ipvs.Timeouts{TCP: tcp})) }
	}
	return []fault{
		s.vs("conn-reuse-off", "conn_reuse_mode", "0", "1"),
		s.vs("drop-defence-on", "drop_packet", "3", "0"),
		s.vs("drop-defence-on", "drop_entry", "3", "0"),
		s.vs("drop-defence-on", "secure_tcp", "3", "0"),
		s.vs("estimator-off", "run_estimation", "0", "1"),
		{want: "idle-timeout", on: s.Director, do: timeouts(900 * time.Second), undo: timeouts(7500 * time.Second)},
		{want: "scheduler-missing", on: s.Director, opts: doctor.Options{Hints: doctor.Hints{Schedulers: []string{"wrr", "twos"}}}, do: func() {}, undo: func() {}},
		s.managers(),
		s.masquerade(),
	}
}

// masquerade: a rule for everything, and connection tracking for IPVS.
func (s *site) masquerade() fault {
	install, remove := s.filter(s.Director, filterSpec{table: "nat", hook: "postrouting", rules: []ruleSpec{{verdict: "masquerade"}}})
	return fault{want: "masquerade-hits-dr", on: s.Director,
		do:   func() { install(); s.must(s.Director.Sysctl("net.ipv4.vs.conntrack", "1")) },
		undo: func() { s.must(s.Director.Sysctl("net.ipv4.vs.conntrack", "0")); remove() }}
}

// managers starts two programs that have the names of table writers.
func (s *site) managers() fault {
	var running []*exec.Cmd
	return fault{want: "foreign-manager", on: s.Director,
		do: func() {
			s.t.Helper()
			for _, name := range []string{"kube-proxy", "keepalived"} {
				path := filepath.Join(s.t.TempDir(), name)
				b, err := os.ReadFile("/bin/sleep")
				s.must(err)
				s.must(os.WriteFile(path, b, 0o755))
				c := exec.Command(path, "600")
				s.must(s.Director.Do(c.Start))
				running = append(running, c)
			}
		},
		undo: func() {
			for _, c := range running {
				_ = c.Process.Kill()
				_ = c.Wait()
			}
		}}
}

// bound are faults of connections that exist.
func (s *site) bound() []fault {
	d := s.Director
	full := s.at(ipvs.TCP, 8011, "rr")
	sticky, gone, stale := s.at(ipvs.TCP, 8012, "rr"), s.at(ipvs.TCP, 8013, "rr"), s.at(ipvs.UDP, 8014, "rr")
	sticky.Flags, sticky.Timeout = ipvs.Persistent, 300*time.Second
	skew := s.at(ipvs.TCP, 8015, "rr")
	skew.Flags, skew.Timeout = ipvs.Persistent, 300*time.Second
	udp := s.at(ipvs.UDP, 8016, "rr")
	flood := s.at(ipvs.TCP, 8017, "wlc")
	var open []*topo.Conn
	hold := func(v ipvs.Service, n int) {
		s.t.Helper()
		for range n {
			c, err := s.Client.Dial(s.t.Context(), v.Protocol.String(), netip.AddrPort{}, v.Addr)
			s.must(err)
			_, err = c.Ask(s.t.Context())
			s.must(err)
			open = append(open, c)
		}
	}
	release := func() {
		for _, c := range open {
			_ = c.Reset()
		}
		open = nil
	}
	change := func(v ipvs.Service, op ipvs.Op, rs *topo.Host, f func(*ipvs.Destination)) {
		s.t.Helper()
		x := s.destination(rs, v)
		f(&x)
		s.must(s.ipvs.Do(ipvs.Change{Op: op, Service: v, Destination: x}))
	}
	keep := func(*ipvs.Destination) {}
	loses := func(v ipvs.Service) {
		s.t.Helper()
		change(v, ipvs.DeleteDestination, s.busy(v), keep)
	}
	knob := func(name, v string) { s.t.Helper(); s.must(d.Sysctl("net.ipv4.vs."+name, v)) }
	return []fault{
		// These two first, and the knob 0 all the while: when it is 1 and a service is
		// removed the kernel sweeps such connections, later, whatever it is then.
		s.apart(fault{want: "expire-nodest", on: d,
			do: func() { knob("expire_nodest_conn", "0"); hold(gone, 2); loses(gone) }, undo: release}, gone),
		s.apart(fault{want: "udp-stale-flow", on: d, do: func() { hold(stale, 2); loses(stale) }, undo: release}, stale),
		{name: "expire_nodest_conn 1", on: d, do: func() { knob("expire_nodest_conn", "1") }, undo: func() {}},
		s.apart(fault{want: "threshold-reached", on: d,
			do: func() {
				change(full, ipvs.UpdateDestination, s.Servers[0], func(x *ipvs.Destination) { x.Upper = 1 })
				hold(full, 2)
			}, undo: release}, full),
		s.apart(fault{want: "persistent-dead-server", on: d,
			do: func() {
				knob("expire_quiescent_template", "0")
				hold(sticky, 1)
				change(sticky, ipvs.UpdateDestination, s.busy(sticky), func(x *ipvs.Destination) { x.Weight = 0 })
			},
			undo: func() { release(); knob("expire_quiescent_template", "1") }}, sticky),
		s.apart(fault{want: "persistence-skew", on: d, do: func() { hold(skew, 12) }, undo: release}, skew),
		s.apart(fault{want: "udp-sticky", on: d,
			do: func() {
				hold(udp, 1)
				for range 120 {
					_, err := open[0].Ask(s.t.Context())
					s.must(err)
				}
				s.counted(udp, func(x ipvs.DestinationInfo) bool { return x.Stats.InPkts >= 100 })
			}, undo: release}, udp),
		s.apart(fault{want: "wlc-flood", on: d,
			do: func() {
				change(flood, ipvs.DeleteDestination, s.Servers[1], keep)
				hold(flood, 8)
				s.counted(flood, func(x ipvs.DestinationInfo) bool { return x.Stats.Conns >= 8 })
				change(flood, ipvs.AddDestination, s.Servers[1], keep)
				for range 30 { // one connection at a time: it never has many
					hold(flood, 1)
					_ = open[len(open)-1].Reset()
				}
				s.counted(flood, func(x ipvs.DestinationInfo) bool { return x.Addr.Addr() == s.Servers[1].Addr4 && x.Stats.CPS >= 2 })
			}, undo: release}, flood),
	}
}

// counted waits until the estimator has added up what the test waits for.
func (s *site) counted(v ipvs.Service, ok func(ipvs.DestinationInfo) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		list, err := s.ipvs.Destinations(v.ServiceKey, nil)
		s.must(err)
		if slices.ContainsFunc(list, ok) {
			return
		}
	}
	s.t.Fatal("the counters never came to it")
}

// syncs are faults of connection synchronization, and of two directors.
func (s *site) syncs() []fault {
	d, rs := s.Director, s.Servers[0]
	start := func(x ipvs.Daemon) func() { return func() { s.t.Helper(); s.must(s.ipvs.StartDaemon(x)) } }
	stop := func(x ipvs.Daemon) func() { return func() { s.t.Helper(); s.must(s.ipvs.StopDaemon(x)) } }
	master, backup := ipvs.Daemon{State: ipvs.Master, Interface: "eth0", SyncID: 1}, ipvs.Daemon{State: ipvs.Backup, Interface: "eth0", SyncID: 2}
	both := s.at(ipvs.TCP, 8021, "rr")
	local := s.destination(rs, both)
	local.Addr = netip.AddrPortFrom(d.Addr4, 8021)
	var server *topo.Server
	return []fault{
		{name: "a master", on: d, do: start(master), undo: stop(master)},
		{want: "sync-version", on: d, do: func() { s.must(d.Sysctl("net.ipv4.vs.sync_version", "0")); start(master)() },
			undo: func() { stop(master)(); s.must(d.Sysctl("net.ipv4.vs.sync_version", "1")) }},
		{want: "sync-silent", name: "interface is down", on: d,
			do: func() {
				s.must(d.Do(func() error { return netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "sync0"}}) }))
				s.link(d, "sync0", netlink.LinkSetUp)
				start(ipvs.Daemon{State: ipvs.Master, Interface: "sync0"})()
				s.link(d, "sync0", netlink.LinkSetDown)
			},
			undo: func() { stop(master)(); s.link(d, "sync0", netlink.LinkDel) }},
		{want: "sync-silent", name: "another id", on: d, do: start(backup), undo: stop(backup),
			during: func(context.Context) { s.syncMessage(rs, 9) }},
		{want: "two-directors-loop", on: d,
			do: func() {
				server = s.serve(d, "tcp", 8021, s.VIP4)
				s.with("", both, local, s.destination(rs, both)).do()
				start(backup)()
			},
			undo: func() { stop(backup)(); s.remove(both); server.Close() }},
	}
}

// syncMessage sends an empty message of another director to the group.
func (s *site) syncMessage(h *topo.Host, id byte) {
	_ = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// struct ip_vs_sync_mesg: reserved, syncid, size, nr_conns, version, spare.
		return unix.Sendto(fd, []byte{0, id, 0, 8, 0, 1, 0, 0}, 0, &unix.SockaddrInet4{Addr: [4]byte{224, 0, 0, 81}, Port: 8848})
	})
	time.Sleep(time.Millisecond) // goes on in a loop, and leaves the machine to others
}

// setMachine sets a knob that the machine has one of.
func setMachine(path, value string) error {
	return os.WriteFile("/proc/sys/"+path, []byte(value), 0)
}

// busy is a real server that has connections or persistent clients.
func (s *site) busy(v ipvs.Service) *topo.Host {
	s.t.Helper()
	list, err := s.ipvs.Destinations(v.ServiceKey, nil)
	s.must(err)
	for _, x := range list {
		for _, rs := range s.Servers {
			if x.Active+x.Inactive+x.Persistent > 0 && x.Addr.Addr() == rs.Addr4 {
				return rs
			}
		}
	}
	s.t.Fatal("no server has a connection")
	return nil
}
