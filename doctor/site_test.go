package doctor_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/dump"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

// A site is a working set-up: a topology with services that clients reach.
type site struct {
	*topo.Net
	t      *testing.T
	method topo.Method
	ipvs   *ipvs.Client
	tcp    ipvs.ServiceKey // port 80 of the virtual address
}

// newSite builds a set-up in which doctor finds nothing.
func newSite(t *testing.T, spec topo.Spec, m topo.Method) *site {
	s := &site{Net: topotest.New(t, spec), t: t, method: m}
	s.must(s.Prepare(m))
	s.must(s.Director.Do(func() (err error) { s.ipvs, err = ipvs.Dial(ipvs.Options{}); return err }))
	t.Cleanup(func() { s.ipvs.Close() })
	for knob, v := range map[string]string{"expire_nodest_conn": "1", "expire_quiescent_template": "1"} {
		s.must(s.Director.Sysctl("net.ipv4.vs."+knob, v))
	}
	s.must(s.ipvs.SetTimeouts(ipvs.Timeouts{TCP: 7500 * time.Second}))
	vip := s.VIP4
	if spec.IPv6 {
		vip = s.VIP6
	}
	s.tcp = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 80))
	s.service(ipvs.Service{ServiceKey: s.tcp, Scheduler: "rr"})
	for _, rs := range s.Servers {
		s.serve(rs, "tcp", 80)
		if mss := s.mss(); mss > 0 {
			s.gateway(rs, s.Router.Addr4, mss)
		}
	}
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) serve(h *topo.Host, network string, port uint16, at ...netip.Addr) *topo.Server {
	s.t.Helper()
	server, err := h.Serve(network, port, at...)
	s.must(err)
	return server
}

// service adds a service with all real servers, by the site's method.
func (s *site) service(v ipvs.Service) {
	s.t.Helper()
	s.must(s.ipvs.Do(ipvs.Change{Op: ipvs.AddService, Service: v}))
	for _, rs := range s.Servers {
		s.must(s.ipvs.Do(ipvs.Change{Op: ipvs.AddDestination, Service: v, Destination: s.destination(rs, v)}))
	}
}

func (s *site) remove(v ipvs.Service) {
	s.t.Helper()
	s.must(s.ipvs.Do(ipvs.Change{Op: ipvs.DeleteService, Service: v}))
}

func (s *site) destination(rs *topo.Host, v ipvs.Service) ipvs.Destination {
	rip := rs.Addr4
	if v.AF() == ipvs.IPv6 {
		rip = rs.Addr6
	}
	d := ipvs.Destination{Addr: netip.AddrPortFrom(rip, v.Addr.Port()), Weight: 1, Method: ipvs.Tunnel}
	switch s.method {
	case topo.NAT:
		d.Method = ipvs.NAT
	case topo.DR:
		d.Method = ipvs.DirectRoute
	case topo.GRE:
		d.Encap.Type = ipvs.GRE
	case topo.GUE:
		d.Encap = ipvs.Encap{Type: ipvs.GUE, Port: topo.GUEPort}
	}
	return d
}

// mss is what fits into the site's tunnels, which have an MTU of 1500 around.
func (s *site) mss() int {
	return map[topo.Method]int{topo.IPIP: 1440, topo.GRE: 1436, topo.GUE: 1428}[s.method]
}

// doctor runs doctor on a host, with the files of a machine that is set up to
// stay as it is.
func (s *site) doctor(h *topo.Host, o doctor.Options) doctor.Report {
	s.t.Helper()
	if o.Wait == 0 {
		o.Wait = 100 * time.Millisecond
	}
	if o.Stuck == 0 {
		o.Stuck = time.Second
	}
	if o.Root == "" {
		o.Root = "testdata/root"
	}
	var r doctor.Report
	s.must(h.Do(func() (err error) { r, err = doctor.Run(s.t.Context(), o); return err }))
	return r
}

// find wants exactly these findings, and says what there was instead.
func (s *site) find(h *topo.Host, o doctor.Options, want ...string) doctor.Report {
	s.t.Helper()
	r := s.doctor(h, o)
	ids := []string{}
	var seen strings.Builder
	for _, f := range r.Findings {
		ids = append(ids, f.ID)
		fmt.Fprintf(&seen, "%s: %s: %s\n", f.ID, f.Object, f.Seen)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	want = slices.DeleteFunc(want, func(w string) bool { return w == "" })
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), ids); diff != "" {
		s.t.Errorf("findings on %s (-want +got):\n%s\n%s%s", h.Name, diff, seen.String(), s.connections())
	}
	return r
}

// works wants an answer of the service, and that the director balanced it.
func (s *site) works() {
	s.t.Helper()
	before := s.balanced()
	defer func() {
		s.t.Helper()
		if s.balanced() == before {
			s.t.Error("an answer came past the director")
		}
	}()
	if _, err := s.Client.Ask(s.t.Context(), "tcp", netip.AddrPort{}, s.tcp.Addr); err != nil {
		s.t.Fatalf("the service does not work to begin with: %v", err)
	}
}

// connections is the director's table, for people.
func (s *site) connections() (text string) {
	s.must(s.Director.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/ip_vs_conn")
		text = string(b)
		return err
	}))
	return text
}

// balanced counts the connections of the director, up to date.
func (s *site) balanced() (n uint64) {
	s.t.Helper()
	s.must(s.Director.Do(func() error {
		file, err := procfs.Open("", procfs.PerCPUStatsFile)
		if err != nil {
			return err
		}
		defer file.Close()
		_, cpus, err := procfs.PerCPUStats(file)
		for _, c := range cpus {
			n += c.Stats.Conns
		}
		return err
	}))
	return n
}

// forget empties the neighbour caches of those that may have been misled.
func (s *site) forget() {
	s.t.Helper()
	for _, h := range append(s.Clients, s.Router, s.Switch) {
		if h == nil {
			continue
		}
		s.must(h.Do(func() error {
			list, err := dump.Whole(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, 0) })
			for _, n := range list {
				if n.State&netlink.NUD_NOARP == 0 {
					_ = netlink.NeighDel(&n) // it may have gone by itself
				}
			}
			return err
		}))
	}
}

// healthy wants no finding on any host that has a part in the service.
func (s *site) healthy() {
	s.t.Helper()
	s.works()
	if r := s.find(s.Director, doctor.Options{}); !slices.Equal(r.Roles, []string{"director"}) {
		s.t.Errorf("the director's roles are %v", r.Roles)
	}
	for _, rs := range s.Servers {
		s.find(rs, s.onServer())
	}
}

// onServer are the hints that a real server needs.
func (s *site) onServer() doctor.Options {
	o := doctor.Options{Service: &s.tcp, Hints: doctor.Hints{Director: s.Director.Addr4}}
	switch s.method {
	case topo.NAT:
		o.Hints.Method = "nat"
	case topo.DR:
		o.Hints.Method = "dr"
	case topo.GRE:
		o.Hints.Method, o.Hints.Tunnel = "tun", "gre"
	case topo.GUE:
		o.Hints.Method, o.Hints.Tunnel, o.Hints.TunnelPort = "tun", "gue", topo.GUEPort
	default:
		o.Hints.Method = "tun"
	}
	return o
}

// A fault is one thing broken in a working site, and the finding that it must
// be, on the host where it shows.
type fault struct {
	want string // the finding; more than one only where each is a fault of its own
	name string // what tells several faults with the same finding apart
	on   *topo.Host
	opts doctor.Options
	do   func()
	undo func()
	// during goes on while doctor looks, for what shows in counters and on the
	// wire only.
	during func(ctx context.Context)
}

// try breaks one thing after the other, and mends it again.
func (s *site) try(faults ...fault) {
	t := s.t
	defer func() { s.t = t }()
	for _, f := range faults {
		t.Run(strings.TrimSpace(f.want+" "+f.name), func(t *testing.T) {
			s.t = t
			f.do()
			if f.during != nil && f.opts.Wait == 0 {
				f.opts.Wait = time.Second // a busy machine may do little in less
			}
			end := f.background(t.Context())
			s.find(f.on, f.opts, f.want)
			end()
			f.undo()
			s.forget()
		})
	}
}

func (f *fault) background(ctx context.Context) (end func()) {
	if f.during == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var w sync.WaitGroup
	w.Go(func() {
		for ctx.Err() == nil {
			f.during(ctx)
		}
	})
	return func() { cancel(); w.Wait() }
}

// knob is a fault of a sysctl.
func (s *site) knob(want string, on *topo.Host, o doctor.Options, name, bad, good string) fault {
	return fault{want: want, name: name + "=" + bad, on: on, opts: o,
		do: func() { s.must(on.Sysctl(name, bad)) }, undo: func() { s.must(on.Sysctl(name, good)) }}
}

// vs is a fault of a knob of IPVS, on the director.
func (s *site) vs(want, name, bad, good string) fault {
	return s.knob(want, s.Director, doctor.Options{}, "net.ipv4.vs."+name, bad, good)
}

// with is a fault of the table: a service of its own.
func (s *site) with(want string, v ipvs.Service, destinations ...ipvs.Destination) fault {
	return fault{want: want, on: s.Director,
		do: func() {
			s.must(s.ipvs.Do(ipvs.Change{Op: ipvs.AddService, Service: v}))
			for _, d := range destinations {
				s.must(s.ipvs.Do(ipvs.Change{Op: ipvs.AddDestination, Service: v, Destination: d}))
			}
		},
		undo: func() { s.remove(v) }}
}

// apart gives a fault that leaves connections behind a service of its own, on
// a port that no other fault uses.
func (s *site) apart(f fault, v ipvs.Service) fault {
	var servers []*topo.Server
	do, undo := f.do, f.undo
	f.do = func() {
		s.t.Helper()
		s.service(v)
		for _, rs := range s.Servers {
			servers = append(servers, s.serve(rs, v.Protocol.String(), v.Addr.Port()))
		}
		do()
	}
	f.undo = func() {
		s.t.Helper()
		undo()
		s.remove(v)
		for _, x := range servers {
			x.Close()
		}
	}
	return f
}

// at is a service of the site's virtual address.
func (s *site) at(p ipvs.Protocol, port uint16, scheduler string) ipvs.Service {
	return ipvs.Service{ServiceKey: ipvs.AddrService(p, netip.AddrPortFrom(s.tcp.Addr.Addr(), port)), Scheduler: scheduler}
}

// both are the destinations of a service at the first two servers, changed by f.
func (s *site) both(v ipvs.Service, f func(i int, d *ipvs.Destination)) (list []ipvs.Destination) {
	for i, rs := range s.Servers[:2] {
		d := s.destination(rs, v)
		f(i, &d)
		list = append(list, d)
	}
	return list
}

// addr and noAddr give an interface an address, and take it away.
func (s *site) addr(h *topo.Host, dev, prefix string) {
	s.t.Helper()
	s.must(h.AddAddr(dev, netip.MustParsePrefix(prefix)))
}

func (s *site) noAddr(h *topo.Host, dev, prefix string) {
	s.t.Helper()
	s.link(h, dev, func(l netlink.Link) error {
		a, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, a)
	})
}

// link does something to an interface of a host.
func (s *site) link(h *topo.Host, dev string, f func(netlink.Link) error) {
	s.t.Helper()
	s.must(h.Do(func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		return f(l)
	}))
}

// gateway makes the default route of a host; a negative mss takes it away.
func (s *site) gateway(h *topo.Host, via netip.Addr, mss int) {
	s.t.Helper()
	src := h.Addr4
	if via.Is6() {
		src = h.Addr6
	}
	s.must(h.Do(func() error {
		r := &netlink.Route{Gw: via.AsSlice(), Src: src.AsSlice(), AdvMSS: max(mss, 0)}
		if mss < 0 {
			return netlink.RouteDel(r)
		}
		return netlink.RouteReplace(r)
	}))
}

// dial makes a client try, and does not care what comes of it.
func (s *site) dial(ctx context.Context, h *topo.Host, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if c, err := h.Dial(ctx, "tcp", netip.AddrPort{}, to); err == nil {
		_ = c.Reset()
	}
}

// stuck waits until a connection of the service has been in SYN_RECV for as
// long as doctor's patience lasts.
func (s *site) stuck(v ipvs.ServiceKey) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		found := false
		s.must(s.Director.Do(func() error {
			file, err := procfs.Open("", procfs.ConnectionFile)
			if err != nil {
				return err
			}
			defer file.Close()
			for c, err := range procfs.Connections(file) {
				found = found || err == nil && c.Virtual == v.Addr && c.State == "SYN_RECV" && c.Expires <= 58*time.Second
			}
			return nil
		}))
		if found {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("no connection waits for its answer")
}

// duplicate gives an interface an address that another host of the link has,
// and waits until the kernel has found that out.
func (s *site) duplicate(h *topo.Host, prefix string) {
	s.t.Helper()
	s.must(h.Sysctl("net.ipv6.conf.eth0.accept_dad", "1"))
	s.link(h, "eth0", func(l netlink.Link) error {
		a, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, a)
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		failed := false
		s.link(h, "eth0", func(l netlink.Link) error {
			list, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_V6) })
			for _, a := range list {
				failed = failed || a.Flags&unix.IFA_F_DADFAILED != 0
			}
			return err
		})
		if failed {
			return
		}
	}
	s.t.Fatal("duplicate address detection found nothing")
}
