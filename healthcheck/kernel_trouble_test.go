package healthcheck_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestKernelOwnTrouble: whatever the director itself lacks, no server is down
// for it; and whatever happens beyond its own link is the server's.
func TestKernelOwnTrouble(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 2})
	must(t, n.Prepare(topo.NAT))
	for _, s := range n.Servers {
		server, err := s.Serve("tcp", 80)
		must(t, err)
		defer server.Close()
	}
	first, second := netip.AddrPortFrom(n.Servers[0].Addr4, 80), netip.AddrPortFrom(n.Servers[1].Addr4, 80)
	expect := func(what string, to netip.AddrPort, want healthcheck.Verdict, words string) {
		t.Helper()
		deadline := 4 * time.Second
		if want == healthcheck.Up {
			deadline = patience
		}
		err := connect(t, n, to, deadline)
		if healthcheck.Judge(err) != want || words != "" && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v: %v, want %v and %q", what, healthcheck.Judge(err), err, want, words)
		}
	}
	expect("all is well", first, healthcheck.Up, "")
	expect("nobody listens", netip.AddrPortFrom(first.Addr(), 81), healthcheck.Down, "refused")
	expect("nobody has the address", netip.MustParseAddrPort("10.9.0.199:80"), healthcheck.Down, "")
	expect("no route", netip.MustParseAddrPort("203.0.113.9:80"), healthcheck.Unknown, "no route")

	free := useUpPorts(t, n, first)
	expect("no ports left", first, healthcheck.Unknown, "assign requested address")
	free()
	expect("ports again", first, healthcheck.Up, "")

	must(t, n.Servers[1].Do(func() error { return setLink("eth0", false) }))
	expect("the server's link is down", second, healthcheck.Down, "")
	must(t, n.Servers[1].Do(func() error { return setLink("eth0", true) }))

	must(t, n.Switch.Do(func() error { return setLink("director", false) }))
	expect("our link has no carrier", first, healthcheck.Unknown, "our link eth0 is down")
	must(t, n.Switch.Do(func() error { return setLink("director", true) }))
	must(t, n.Director.Do(func() error { return setLink("eth0", false) }))
	expect("our link is switched off", first, healthcheck.Unknown, "")
}

func connect(t *testing.T, n *topo.Net, to netip.AddrPort, deadline time.Duration) error {
	t.Helper()
	probe, err := healthcheck.New(healthcheck.Check{Type: "connect"}, healthcheck.Target{Real: to})
	must(t, err)
	time.Sleep(1100 * time.Millisecond) // what is known of links may be a second old
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	must(t, n.Director.Do(func() error {
		err = probe(ctx)
		return nil
	}))
	return err
}

func useUpPorts(t *testing.T, n *topo.Net, to netip.AddrPort) (free func()) {
	t.Helper()
	before, err := n.Director.ReadSysctl("net.ipv4.ip_local_port_range")
	must(t, err)
	must(t, n.Director.Sysctl("net.ipv4.ip_local_port_range", "40000 40001"))
	var held []net.Conn
	for range 2 {
		must(t, n.Director.Do(func() error {
			c, err := net.Dial("tcp", to.String())
			held = append(held, c)
			return err
		}))
	}
	return func() {
		for _, c := range held {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
		must(t, n.Director.Sysctl("net.ipv4.ip_local_port_range", before))
	}
}

func setLink(name string, up bool) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(l)
	}
	return netlink.LinkSetDown(l)
}

// TestKernelClock: whoever sets the director's clock by years makes no
// certificate end, and no check late or early.
func TestKernelClock(t *testing.T) {
	lab.Need(t)
	if lab.Kind() == "host" {
		t.Skip("sets the clock, which on a host is everybody's")
	}
	ca := testserver.NewAuthority(t)
	pair := ca.Issue(t, time.Time{}, "web.example")
	cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	must(t, err)
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	must(t, err)
	defer l.Close()
	go serveTLS(l)
	r := healthcheck.NewRunner(healthcheck.Options{})
	must(t, r.Add(healthcheck.Subject{
		ID: "a", Check: healthcheck.Check{Type: "tcp", TLS: healthcheck.TLS{Mode: "on", ServerName: "web.example", CAFile: ca.File}},
		Target:   healthcheck.Target{Real: netip.MustParseAddrPort(l.Addr().String())},
		Schedule: healthcheck.Schedule{Interval: 100 * time.Millisecond},
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.Run(ctx)
		close(done)
	}()
	defer func() { <-done }()
	defer cancel()
	awaitVerdict(t, r, healthcheck.Up)
	const years = 5 * 365 * 24 * time.Hour
	defer setClock(t, -years)()
	awaitVerdict(t, r, healthcheck.Up) // the certificate is five years old
	setClock(t, 2*years)
	awaitVerdict(t, r, healthcheck.Unknown)
	s, _ := r.Status("a")
	if s.Known != healthcheck.Up || !strings.Contains(s.Reason, "the director's clock was set, by 43800h") {
		t.Errorf("%+v", s)
	}
	setClock(t, -2*years)
	awaitVerdict(t, r, healthcheck.Up)
}

func serveTLS(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			c.Read(make([]byte, 1)) // handshakes
			c.Close()
		}()
	}
}

// awaitVerdict waits for three more checks and looks at their verdict.
func awaitVerdict(t *testing.T, r *healthcheck.Runner, want healthcheck.Verdict) {
	t.Helper()
	before, _ := r.Status("a")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s, _ := r.Status("a"); s.Checks >= before.Checks+3 {
			if s.Verdict != want {
				t.Errorf("%v, want %v: %s", s.Verdict, want, s.Reason)
			}
			return
		}
	}
	t.Error("no checks are made any more")
}

// setClock sets the kernel's clock by some time.
func setClock(t *testing.T, by time.Duration) (back func()) {
	t.Helper()
	set := func(by time.Duration) {
		ts := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		must(t, unix.ClockSettime(unix.CLOCK_REALTIME, &ts))
	}
	set(by)
	return func() { set(-by) }
}
