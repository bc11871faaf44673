package doctor_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
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
	for _, f := range r.Findings {
		ids = append(ids, f.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), ids); diff != "" {
		s.t.Errorf("findings on %s (-want +got):\n%s\n%+v", h.Name, diff, r.Findings)
	}
	return r
}

// works wants an answer of the service.
func (s *site) works() {
	s.t.Helper()
	if _, err := s.Client.Ask(s.t.Context(), "tcp", netip.AddrPort{}, s.tcp.Addr); err != nil {
		s.t.Fatalf("the service does not work to begin with: %v", err)
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
	o := doctor.Options{Service: &s.tcp}
	switch s.method {
	case topo.NAT:
		o.Hints.Director = s.Director.Addr4
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
	name string
	want string
	on   *topo.Host
	opts doctor.Options
	do   func() error
	undo func() error
}

// try breaks one thing after the other, and mends it again.
func (s *site) try(faults ...fault) {
	t := s.t
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s.t = t
			s.must(f.do())
			s.find(f.on, f.opts, f.want)
			s.must(f.undo())
		})
	}
	s.t = t
}

// knob breaks and mends by a sysctl.
func knob(h *topo.Host, name, bad, good string) (do, undo func() error) {
	return func() error { return h.Sysctl(name, bad) }, func() error { return h.Sysctl(name, good) }
}

func TestKernelDR(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2, Router: true}, topo.DR)
	s.healthy()
	rs := s.Servers[0]
	fluxDo, fluxUndo := knob(rs, "net.ipv4.conf.all.arp_ignore", "0", "1")
	annDo, annUndo := knob(rs, "net.ipv4.conf.all.arp_announce", "0", "2")
	s.try(
		fault{"real server answers ARP", "arp-flux-vip", rs, s.onServer(), fluxDo, fluxUndo},
		fault{"seen by the director", "arp-flux-vip", s.Director, doctor.Options{}, fluxDo, fluxUndo},
		fault{"ARP sender is the VIP", "arp-announce-vip", rs, s.onServer(), annDo, annUndo},
	)
	s.healthy()
}
