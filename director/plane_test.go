package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestChoose: the kernel if it can do what is asked, else user space, and a
// plane that is asked for or none; always with the reason.
func TestChoose(t *testing.T) {
	full := func(more string) string {
		return "[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"fullnat\"\n[virtual.fullnat]\nlocal = [\"198.51.100.1\"]\n" + more
	}
	with := func(old, new string) string { return strings.Replace(full(""), old, new, 1) }
	bare := Machine{NoIPVS: errors.New("no IPVS here")}
	noNAT := Machine{NoSourceNAT: map[snat.Need]error{{Family: ipvs.IPv4}: errors.New("no NAT here"), {Family: ipvs.IPv4, Mark: true}: errors.New("no NAT here")}}
	noMarks := Machine{NoSourceNAT: map[snat.Need]error{{Family: ipvs.IPv4, Mark: true}: errors.New("no marks here")}}
	for _, test := range []struct {
		name, text string
		m          Machine
		want       config.Plane
		why        string
	}{
		{"all there", full(""), Machine{}, "kernel", "it can do what is asked"},
		{"asked for", full(`plane = "kernel"`), Machine{}, "kernel", "as asked"},
		{"user space asked for", full(`plane = "userspace"`), Machine{}, "userspace", "as asked"},
		{"no NAT", full(""), noNAT, "userspace", "no NAT here"},
		{"no NAT, insisted", full(`plane = "kernel"`), noNAT, "", `plane = "kernel": no NAT here`},
		{"no IPVS", full(""), bare, "userspace", "no IPVS here"},
		{"no IPVS, insisted", full(`plane = "kernel"`), bare, "", `plane = "kernel": no IPVS here`},
		{"neither", full(""), Machine{bare.NoIPVS, noNAT.NoSourceNAT}, "userspace", "no IPVS here; no NAT here"},
		{"PROXY protocol", full(`proxy_protocol = "v2"`), Machine{}, "userspace", "the kernel cannot do proxy_protocol"},
		{"retries, though the usual ones", full(`retries = 2`), Machine{}, "userspace", "the kernel cannot do retries"},
		{"connect_timeout", full(`connect_timeout = "3s"`), Machine{}, "userspace", "the kernel knows no connect_timeout"},
		{"notrack", full(`notrack = true`), Machine{}, "userspace", "the kernel's plane lives by connection tracking, and notrack is asked for"},
		{"max_connections", full(`max_connections = 9`), Machine{}, "userspace", "the kernel has no max_connections"},
		{"cut_removed", full(`cut_removed = true`), Machine{}, "userspace", "the kernel does not reset what a removed server leaves, and cut_removed is asked for"},
		{"no local address", with(`"198.51.100.1"`, ""), Machine{}, "userspace", "no local address of ipv4 is given"},
		{"many local addresses", with("198.51.100.1", "10.9.0.0-10.9.3.255"), Machine{}, "kernel", "it can do what is asked"},
		{"too many", with("198.51.100.1", "10.9.0.0-10.9.4.0"), Machine{}, "userspace", "a rule has room for 1024 local addresses, and 1025 are given"},
		{"of the other family", with("198.51.100.1", "2001:db8::1"), Machine{}, "userspace", "no local address of ipv4 is given"},
		{"across families", full("[[virtual.real]]\naddress = \"[2001:db8::9]:80\""), Machine{}, "userspace", "the kernel's NAT does not cross from ipv4 to [2001:db8::9]:80"},
		{"a fallback across families", with("forward", "fallback = [\"[2001:db8::9]:80\"]\nforward"), Machine{}, "userspace", "the kernel's NAT does not cross from ipv4 to [2001:db8::9]:80"},
		{"SCTP", with("forward", "protocol = \"sctp\"\nforward"), Machine{}, "kernel", "it can do what is asked"},
		{"SCTP without", with("forward", "protocol = \"sctp\"\nforward"), noNAT, "", "not in the kernel: no NAT here; not in user space: user space speaks TCP and UDP, not sctp"},
		{"every port", with(":80\"", ":0\"\npersistent = \"60s\""), noNAT, "userspace", "no NAT here"},
		{"one packet", with("forward", "protocol = \"udp\"\none_packet = true\nforward"), Machine{}, "userspace", "connection tracking does not know where IPVS sends single packets (one_packet), and answers would be lost"},
		{"persistent", with("forward", "persistent = \"60s\"\nforward"), Machine{}, "kernel", "it can do what is asked"},
		{"every port in the kernel", with(":80\"", ":0\"\npersistent = \"60s\""), Machine{}, "kernel", "it can do what is asked"},
		{"IPv6 to IPv4", strings.NewReplacer("192.0.2.10", "[2001:db8::10]", "198.51.100.1", "2001:db8::11").Replace(full("[[virtual.real]]\naddress = \"10.0.0.1:80\"")), Machine{}, "userspace", "the kernel's NAT does not cross from ipv6 to 10.0.0.1:80"},
		{"a server on a loopback address", full("[[virtual.real]]\naddress = \"127.0.0.1:80\""), Machine{}, "userspace", "the kernel's NAT does not reach the loopback address 127.0.0.1:80"},
		{"no NAT of IPv4, and a service of IPv6", strings.NewReplacer("192.0.2.10", "[2001:db8::10]", "198.51.100.1", "2001:db8::11").Replace(full("")), noNAT, "kernel", "it can do what is asked"},
		{"a fallback there", with("forward", "fallback = [\"127.0.0.1:80\"]\nforward"), Machine{}, "kernel", "it can do what is asked"},
		{"a mark", with("address = \"192.0.2.10:80\"", "fwmark = 1"), Machine{}, "kernel", "it can do what is asked"},
		{"a mark, insisted", strings.Replace(full(`plane = "kernel"`), "address = \"192.0.2.10:80\"", "fwmark = 1", 1), Machine{}, "kernel", "as asked"},
		{"a mark of IPv6", strings.NewReplacer("address = \"192.0.2.10:80\"", "fwmark = 1\nfamily = \"ipv6\"", "198.51.100.1", "2001:db8::11").Replace(full("[[virtual.real]]\naddress = \"[2001:db8::9]:0\"")), noMarks, "kernel", "it can do what is asked"},
		{"a mark with a local address of the other family", strings.NewReplacer("address = \"192.0.2.10:80\"", "fwmark = 1", "198.51.100.1", "2001:db8::11").Replace(full("")), Machine{}, "userspace", "no local address of ipv4 is given"},
		{"a mark, and no such rules", with("address = \"192.0.2.10:80\"", "fwmark = 1"), noMarks, "userspace", "no marks here"},
		{"an address, and no rules for marks", full(""), noMarks, "kernel", "it can do what is asked"},
		{"NAT", "[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"nat\"", Machine{}, "kernel", ""},
		{"DR", dr, Machine{}, "kernel", ""},
		{"NAT without IPVS", "[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"nat\"", bare, "userspace", "this machine has no IPVS: full NAT instead of NAT"},
		{"DR without IPVS", dr, bare, "", "this machine has no IPVS, and without it there is no dr, only nat and fullnat"},
		{"one by DR", "[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"nat\"\n[[virtual.real]]\naddress = \"10.0.0.1:80\"\nforward = \"dr\"", bare, "",
			"this machine has no IPVS, and without it there is no dr, only nat and fullnat"},
		{"a mark without IPVS", "[[virtual]]\nfwmark = 1\nforward = \"nat\"", bare, "userspace", "this machine has no IPVS: full NAT instead of NAT"},
	} {
		c, err := config.Parse("goipvs.toml", []byte(test.text), config.Options{})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := Choose(&c.Virtuals[0], test.m); got != (Choice{test.want, test.why}) {
			t.Errorf("%s: %+v, want %q: %s", test.name, got, test.want, test.why)
		}
	}
}

// steps are what was done to a kernel, user space and source NAT, in order.
type steps struct {
	mu   sync.Mutex
	list []string
}

func (s *steps) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, fmt.Sprintf(format, args...))
}

// take returns the steps since the last time.
func (s *steps) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.list, "\n")
	s.list = nil
	return text
}

// rules is source NAT in memory, which others may change.
type rules struct {
	*steps
	have  map[ipvs.ServiceKey][]netip.Addr
	wrong string // what others did
	err   error

	untracked []snat.Untracked
}

func (r *rules) Services() (all []snat.Service, err error) {
	for k, l := range r.have {
		all = append(all, snat.Service{Key: k, Locals: l})
	}
	return all, nil
}

func (r *rules) Keep(want []snat.Service, forwards bool) error {
	if r.err != nil {
		return r.err
	}
	r.have, r.wrong = map[ipvs.ServiceKey][]netip.Addr{}, ""
	var keys []string
	for _, w := range want {
		r.have[w.Key] = w.Locals
		keys = append(keys, " "+w.Key.String())
	}
	r.add("rules:%s", strings.Join(keys, ""))
	return nil
}

func (r *rules) Differs() (string, error) { return r.wrong, nil }

func (r *rules) Counts() (map[ipvs.ServiceKey]snat.Counts, error) { return nil, nil }
func (r *rules) Untrack(want []snat.Untracked) (bool, error) {
	r.untracked = want
	return false, nil
}

func (r *rules) Forget(all ...snat.Service) error {
	var keys []string
	for _, s := range all {
		keys = append(keys, s.Key.String())
	}
	r.add("forget %s", strings.Join(keys, ", "))
	return nil
}

// user is user space in memory.
type user struct{ *ipvstest.Kernel }

func (user) SetOptions(map[ipvs.ServiceKey]fullnat.Options) error { return nil }
func (user) SetOption(ipvs.ServiceKey, fullnat.Options) error     { return nil }
func (user) SetTimeouts(ipvs.Timeouts)                            {}
func (user) Differs() (bool, error)                               { return false, nil }
func (user) Mend() error                                          { return nil }
func (user) Failures(ipvs.ServiceKey) map[netip.AddrPort]uint64 {
	return map[netip.AddrPort]uint64{planeServer: 3}
}

// planeFixture is a Director with both planes, whose changes are written down.
type planeFixture struct {
	*fixture
	steps *steps
	rules *rules
	user  *ipvstest.Kernel
}

func startPlanes(t *testing.T, setup *Setup) *planeFixture {
	t.Helper()
	p := &planeFixture{steps: &steps{}, user: ipvstest.New(ipvstest.Options{})}
	p.rules = &rules{steps: p.steps}
	k := ipvstest.New(ipvstest.Options{})
	for name, kernel := range map[string]*ipvstest.Kernel{"kernel": k, "user": p.user} {
		kernel.OnCall(func(c ipvstest.Call) {
			if strings.Contains(c.Op, " service") || strings.Contains(c.Op, " destination") {
				if !strings.HasPrefix(c.Op, "list") && !strings.HasPrefix(c.Op, "read") {
					p.steps.add("%s: %s %s", name, c.Op, strings.TrimSuffix(c.Object, " rr"))
				}
			}
		})
	}
	p.fixture = startWith(t, k, setup, Options{Proxy: user{p.user}, SourceNAT: p.rules})
	return p
}

func (p *planeFixture) did(want string) {
	p.t.Helper()
	synctest.Wait()
	want = strings.ReplaceAll(want, "\t", "")
	if got := p.steps.take(); got != want {
		p.t.Errorf("done:\n%s\nwant:\n%s", got, want)
	}
}

var planeServer = netip.MustParseAddrPort("10.0.0.1:53")

func planeService(plane config.Plane) *VirtualService {
	v := &VirtualService{Name: "v", Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("192.0.2.1:53")), Scheduler: "rr"},
		UncheckedUp: true, Plane: plane, Why: "as asked"}
	v.Servers = []RealServer{{Name: "a", Destination: ipvs.Destination{Addr: planeServer, Method: ipvs.NAT, Weight: 1}}}
	switch plane {
	case config.PlaneKernel:
		v.Locals = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	case config.PlaneUserspace:
		v.Proxy = &fullnat.Options{}
	}
	return v
}

// TestPlaneOrder: rules are there before the first server and go after the last,
// and a service that moves is taken away where it was a while after it runs
// where it is to be.
func TestPlaneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPlanes(t, setupOf(planeService(config.PlaneKernel)))
		p.did(`rules: udp 192.0.2.1:53
			kernel: add service udp 192.0.2.1:53
			kernel: add destination 10.0.0.1:53 of udp 192.0.2.1:53
			forget udp 192.0.2.1:53`)
		reload := func(services ...*VirtualService) {
			t.Helper()
			if _, err := p.d.Reload(setupOf(services...), true); err != nil {
				t.Fatal(err)
			}
		}
		reload(planeService(config.PlaneUserspace))
		p.did(`user: add service udp 192.0.2.1:53
			user: add destination 10.0.0.1:53 of udp 192.0.2.1:53`)
		time.Sleep(3 * time.Second)
		p.did(`kernel: delete service udp 192.0.2.1:53
			forget udp 192.0.2.1:53
			rules:`)
		reload(planeService(config.PlaneKernel))
		p.did(`rules: udp 192.0.2.1:53
			kernel: add service udp 192.0.2.1:53
			kernel: add destination 10.0.0.1:53 of udp 192.0.2.1:53
			forget udp 192.0.2.1:53`)
		reload(planeService(config.PlaneUserspace)) // at once: nothing is gone yet
		reload(planeService(config.PlaneKernel))
		time.Sleep(3 * time.Second)
		p.did(`user: delete service udp 192.0.2.1:53`)
		reload()
		p.did(`kernel: delete service udp 192.0.2.1:53
			rules:`)
	})
	synctest.Test(t, func(t *testing.T) { // what is tracked is read once for all that come together
		other := planeService(config.PlaneKernel)
		other.Name, other.Service.Addr = "other", netip.MustParseAddrPort("192.0.2.2:53")
		p := startPlanes(t, setupOf(planeService(config.PlaneKernel), other))
		p.did(`rules: udp 192.0.2.1:53 udp 192.0.2.2:53
			kernel: add service udp 192.0.2.1:53
			kernel: add destination 10.0.0.1:53 of udp 192.0.2.1:53
			kernel: add service udp 192.0.2.2:53
			kernel: add destination 10.0.0.1:53 of udp 192.0.2.2:53
			forget udp 192.0.2.1:53, udp 192.0.2.2:53`)
	})
}

// TestPlaneEnding: who moves a service out of the kernel hears how many
// connections end by it, once.
func TestPlaneEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := func(plane config.Plane) *Setup {
			v := planeService(plane)
			v.Service.Protocol = ipvs.TCP
			return setupOf(v)
		}
		p := startPlanes(t, tcp(config.PlaneKernel))
		synctest.Wait()
		for _, test := range []struct {
			plane config.Plane
			open  uint32
			want  []string
		}{
			{config.PlaneUserspace, 7, []string{"v: it moves from the kernel to user space, which ends its 7 established connections"}},
			{config.PlaneKernel, 0, nil},
			{config.PlaneUserspace, 0, nil},
		} {
			if test.plane == config.PlaneUserspace { // it is in the kernel
				p.k.CountDestination(ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:53")), netip.MustParseAddrPort("10.0.0.1:53"), ipvstest.Load{Active: test.open})
			}
			r, err := p.d.Reload(tcp(test.plane), true)
			if err != nil || !slices.Equal(r.Ending, test.want) {
				t.Errorf("to %s with %d connections: %q, %v", test.plane, test.open, r.Ending, err)
			}
			time.Sleep(3 * time.Second)
		}
		if n := strings.Count(p.log.String(), "event=connections_end"); n != 1 {
			t.Errorf("said %d times:\n%s", n, p.log)
		}
	})
}

// TestPlaneDrift: what others do to rules is said and mended, or only said.
func TestPlaneDrift(t *testing.T) {
	for _, report := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			setup := setupOf(planeService(config.PlaneKernel))
			setup.Settings.ReportDrift = report
			p := startPlanes(t, setup)
			synctest.Wait()
			p.steps.take()
			if err := p.d.do(func(*state) { p.rules.wrong = "flushed" }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			want, drift := "rules: udp 192.0.2.1:53", ""
			if report {
				want, drift = "", "flushed"
			}
			p.did(want)
			st, err := p.d.Status(nil)
			if err != nil || st.Services[0].Drift != drift {
				t.Errorf("drift %q, want %q; %v", st.Services[0].Drift, drift, err)
			}
			if n := strings.Count(p.log.String(), "event=drift"); n != 1 {
				t.Errorf("said %d times:\n%s", n, p.log)
			}
		})
	}
}

// TestPlaneWithoutRules: a service whose rules the kernel refuses gets no
// servers, whose answers would go nowhere; others do; and it is tried again.
func TestPlaneWithoutRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := planeService("")
		other.Name, other.Why, other.Service.Addr = "other", "", netip.MustParseAddrPort("192.0.2.2:53")
		p := startPlanes(t, setupOf(other))
		synctest.Wait()
		p.steps.take()
		if err := p.d.do(func(*state) { p.rules.err = errors.New("table is full") }); err != nil {
			t.Fatal(err)
		}
		if _, err := p.d.Reload(setupOf(other, planeService(config.PlaneKernel)), true); err != nil {
			t.Fatal(err)
		}
		p.did("")
		st, err := p.d.Status(nil)
		if err != nil || !strings.Contains(st.Services[0].Refused, "table is full") {
			t.Errorf("%+v, %v", st.Services[0], err)
		}
		if err := p.d.do(func(*state) { p.rules.err = nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		p.did(`rules: udp 192.0.2.1:53
			kernel: add service udp 192.0.2.1:53
			kernel: add destination 10.0.0.1:53 of udp 192.0.2.1:53
			forget udp 192.0.2.1:53`)
	})
}

// TestPlaneFailures: connects that failed are told of user space, and only there.
func TestPlaneFailures(t *testing.T) {
	for plane, want := range map[config.Plane]uint64{config.PlaneUserspace: 3, config.PlaneKernel: 0} {
		synctest.Test(t, func(t *testing.T) {
			p := startPlanes(t, setupOf(planeService(plane)))
			synctest.Wait()
			st, err := p.d.Status(nil)
			ex, exErr := p.d.Explain(planeServer.String(), "", nil)
			if err := errors.Join(err, exErr); err != nil {
				t.Fatal(err)
			}
			for _, s := range []control.ServerStatus{st.Services[0].Servers[0], ex.Servers[0].ServerStatus} {
				if n := s.Stats.ConnectFailures; (n != nil) != (want > 0) || n != nil && *n != want {
					t.Errorf("%s: %v, want %d", plane, n, want)
				}
			}
		})
	}
}

// TestPlaneShadow: a service of user space that somebody adds to the kernel,
// which would take its connections, is taken away there.
func TestPlaneShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPlanes(t, setupOf(planeService(config.PlaneUserspace)))
		synctest.Wait()
		p.steps.take()
		err := p.k.Other().Apply(slices.Values([]ipvs.Change{{Op: ipvs.AddService, Service: planeService("").Service}}))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		p.did("kernel: delete service udp 192.0.2.1:53\n\t\t\tforget udp 192.0.2.1:53")
		if !strings.Contains(p.log.String(), shadowText) {
			t.Errorf("not said:\n%s", p.log)
		}
	})
}

// TestPlaneCovered: a service of user space whose connections the kernel gives to
// one of every port of the address, whoever made that, is said so for as long as
// that is so. Nothing is taken away.
func TestPlaneCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exact := planeService(config.PlaneUserspace)
		every := planeService(config.PlaneKernel)
		every.Name, every.Service.Addr = "every", netip.AddrPortFrom(every.Service.Addr.Addr(), 0)
		p := startPlanes(t, setupOf(exact))
		said := func(want string, times int) {
			t.Helper()
			time.Sleep(3 * time.Second)
			st, err := p.d.Status(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range st.Services {
				if s.Name == exact.Name && s.Drift != want {
					t.Errorf("drift %q, want %q", s.Drift, want)
				}
			}
			if n := strings.Count(p.log.String(), coveredText); n != times {
				t.Errorf("said %d times, want %d:\n%s", n, times, p.log)
			}
		}
		said("", 0)
		reload := func(services ...*VirtualService) {
			t.Helper()
			if _, err := p.d.Reload(setupOf(services...), true); err != nil {
				t.Fatal(err)
			}
		}
		reload(exact, every)
		said(coveredText, 1)
		reload(exact)
		said("", 1)
		other := ipvs.Change{Op: ipvs.AddService, Service: every.Service}
		if err := p.k.Other().Apply(slices.Values([]ipvs.Change{other})); err != nil {
			t.Fatal(err)
		}
		said(coveredText, 2)
		other.Op = ipvs.DeleteService
		if err := p.k.Other().Apply(slices.Values([]ipvs.Change{other})); err != nil {
			t.Fatal(err)
		}
		said("", 2)
	})
}

// TestPlaneNotrack: clients' packets and those of local addresses are not
// tracked, but where a local address is the kernel's plane's, too.
func TestPlaneNotrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := planeService(config.PlaneUserspace)
		u.Name, u.Service.Addr, u.Notrack = "u", netip.MustParseAddrPort("192.0.2.2:53"), true
		u.Proxy.Locals = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
		p := startPlanes(t, setupOf(planeService(config.PlaneKernel), u))
		synctest.Wait()
		if got := p.rules.untracked; len(got) != 1 || got[0].Key != u.Key() || !slices.Equal(got[0].Locals, u.Proxy.Locals[1:]) || !slices.Equal(got[0].Ports, []uint16{53}) {
			t.Errorf("%+v", got)
		}
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		if p.rules.untracked != nil {
			t.Errorf("after the end: %+v", p.rules.untracked)
		}
	})
}

// TestPlaneRefused: a service that cannot be served here is shown so, keeps no
// other from running, and no reload gives one up that runs.
func TestPlaneRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := planeService("")
		no.Why, no.Proxy = `plane = "kernel": no NAT`, nil
		other := planeService(config.PlaneUserspace)
		other.Name, other.Service.Addr = "other", netip.MustParseAddrPort("192.0.2.2:53")
		p := startPlanes(t, setupOf(no, other))
		p.did("user: add service udp 192.0.2.2:53\n\t\t\tuser: add destination 10.0.0.1:53 of udp 192.0.2.2:53")
		time.Sleep(rush + idleTick) // then there is time to look for what an earlier run left
		p.did("rules:")
		st, err := p.d.Status(nil)
		if err != nil || st.Services[0].State != "refused" || st.Services[0].PlaneReason != no.Why || st.Services[1].State != "up" {
			t.Errorf("%+v, %v", st.Services, err)
		}
		other.Plane, other.Why, other.Proxy = "", "it is gone", nil
		var nowhere *ErrNotHere
		if _, err := p.d.Reload(setupOf(no, other), true); !errors.As(err, &nowhere) || nowhere.Virtual != "other" {
			t.Errorf("%v", err)
		}
		p.did("")
		if _, err := p.d.Reload(setupOf(planeService(config.PlaneKernel)), true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !strings.Contains(p.k.String(), "10.0.0.1:53 nat weight 1") {
			t.Errorf("not served once it can be:\n%s", p.k)
		}
	})
}

// spoilt is user space whose rules others change, or an earlier run has left.
type spoilt struct {
	user
	wrong, left bool
}

func (s *spoilt) Differs() (bool, error) { return s.wrong, nil }
func (s *spoilt) Mend() error            { s.wrong, s.left = false, false; return nil }

// TestDivertsLeft: rules to user space that an earlier run left are taken away,
// which is no drift; what others do to ours is told, however soon after the start.
func TestDivertsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*spoilt)
		drift  int
	}{"left": {func(s *spoilt) { s.left = true }, 0}, "changed": {func(s *spoilt) { s.wrong = true }, 1}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := &spoilt{user: user{ipvstest.New(ipvstest.Options{})}}
				f := startWith(t, ipvstest.New(ipvstest.Options{}), setupOf(), Options{Proxy: s})
				time.Sleep(rush - time.Millisecond) // before anybody looks for what was left
				if err := f.d.do(func(*state) { test.change(s) }); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				err := f.d.do(func(*state) {
					if s.left || s.wrong {
						t.Error("others' rules are still as they were")
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if n := f.seen(Drift); n != test.drift {
					t.Errorf("drift was told %d times, want %d", n, test.drift)
				}
			})
		})
	}
}
