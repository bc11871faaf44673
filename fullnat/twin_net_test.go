package fullnat_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// twins is one network twice, with the same addresses: in one the kernel's IPVS
// balances by NAT, in the other our engine. Both get the same words and the same
// packets.
type twins struct {
	t      *testing.T
	kernel *topo.Net
	ours   *topo.Net
	ipvs   *ipvs.Client
	engine *fullnat.Engine
	want   []fullnat.Service // what the engine serves
	vips   map[ipvs.Family][]netip.Addr
	prompt bool // the kernel's rule for thresholds, see sched.Settings
	lips   []netip.Addr
}

// What connections live, in both: short enough to see them end.
var twinTimeouts = ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 12 * time.Second, UDP: 14 * time.Second}

func newTwins(t *testing.T, servers int) *twins {
	t.Helper()
	spec := topo.Spec{Servers: servers, IPv6: true}
	w := &twins{t: t, kernel: topotest.New(t, spec), ours: topotest.New(t, spec)}
	w.must(w.kernel.Prepare(topo.NAT)) // ours have no route to the clients
	w.must(w.kernel.Director.Do(func() (err error) {
		w.ipvs, err = ipvs.Dial(ipvs.Options{})
		return err
	}))
	t.Cleanup(func() { w.must(w.ipvs.Close()) })
	w.must(w.ipvs.SetTimeouts(twinTimeouts))
	w.addVIPs(8)
	w.serve()
	w.lips = w.locals()
	w.prompt = w.promptThresholds()
	w.engine = startOn(t, w.ours.Director, fullnat.Config{Loops: 2, Scheduling: &sched.Settings{PromptThresholds: w.prompt}})
	w.engine.SetTimeouts(twinTimeouts)
	return w
}

func (w *twins) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// twinPort is where all real servers answer.
const twinPort = 8000

// serve has the real servers of both networks answer, all services by the same
// port: what differs between runs is the virtual port, and the clients.
func (w *twins) serve() {
	for _, n := range []*topo.Net{w.kernel, w.ours} {
		for _, h := range n.Servers {
			for _, protocol := range []string{"tcp", "udp"} {
				_, err := h.Serve(protocol, twinPort, h.Addr4, h.Addr6) // until the network is closed
				w.must(err)
			}
		}
	}
}

// addVIPs makes virtual addresses, by which dh, lblc and lblcr choose.
func (w *twins) addVIPs(count int) {
	w.vips = map[ipvs.Family][]netip.Addr{}
	for f, a := range map[ipvs.Family]netip.Addr{ipvs.IPv4: w.kernel.VIP4, ipvs.IPv6: w.kernel.VIP6} {
		for range count {
			w.must(w.kernel.AddVIP(a)) // again is no error
			w.must(w.ours.AddVIP(a))
			w.vips[f] = append(w.vips[f], a)
			a = a.Next()
		}
	}
}

// startOn starts an engine on a host: loops keep their threads, so these can move
// there. Services are to be applied there, too.
func startOn(t *testing.T, h *topo.Host, c fullnat.Config) *fullnat.Engine {
	t.Helper()
	e := start(t, c)
	err := h.Do(func() error {
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		var failed error
		e.InLoops(func() { failed = errors.Join(failed, unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)) })
		return failed
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// locals are LIPs of both families.
func (w *twins) locals() (list []netip.Addr) {
	for _, f := range []string{"10.9.1.1", "fd09::1:1"} {
		a := netip.MustParseAddr(f)
		for range 4 {
			w.must(w.ours.Director.AddAddr("eth0", netip.PrefixFrom(a, 16)))
			list = append(list, a)
			a = a.Next()
		}
	}
	return list
}

// apply has the engine serve what is wanted.
func (w *twins) apply() error {
	return w.ours.Director.Do(func() error { return w.engine.Apply(w.want) })
}

// promptThresholds tells whether the kernel looks at the connections there are
// when a threshold changes: of 6.1, 6.1.192 does and 6.1.176 does not.
func (w *twins) promptThresholds() bool {
	const port = 999
	h := w.kernel.Servers[0]
	svc := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(w.kernel.VIP4, port)), Scheduler: "rr"}
	d := ipvs.Destination{Addr: netip.AddrPortFrom(h.Addr4, twinPort), Weight: 1}
	w.must(w.ipvs.Apply(slices.Values([]ipvs.Change{{Op: ipvs.AddService, Service: svc}, {Op: ipvs.AddDestination, Service: svc, Destination: d}})))
	defer func() { w.must(w.ipvs.Do(ipvs.Change{Op: ipvs.DeleteService, Service: svc})) }()
	from := netip.AddrPortFrom(w.kernel.Client.Addr4, port)
	c, err := w.kernel.Client.Dial(w.t.Context(), "tcp", from, svc.Addr)
	w.must(err)
	defer c.Close()
	_, err = c.Ask(w.t.Context())
	w.must(err)
	d.Upper = 1
	w.must(w.ipvs.Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: svc, Destination: d}))
	_, err = w.kernel.Client.Ask(w.t.Context(), "tcp", netip.AddrPortFrom(from.Addr(), port+1), svc.Addr)
	if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
		w.t.Fatal(err)
	}
	w.t.Logf("the kernel applies thresholds at once: %v", err != nil)
	return err != nil
}

// nobody is the server of a connection that was refused.
const nobody = "nobody"

// connect opens a connection and tells who answers. In the kernel's network a
// refusal is ICMP; ours is a RST, which may come while the connection is being
// made or after.
func connect(t *testing.T, client *topo.Host, protocol string, from, to netip.AddrPort) (*topo.Conn, string, error) {
	c, err := client.Dial(t.Context(), protocol, from, to)
	if err == nil {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetKeepAlive(false) // its packets would set the kernel's timers
		}
		var a topo.Answer
		if a, err = c.Ask(t.Context()); err == nil {
			return c, a.Server, nil
		}
		c.Close()
	}
	for _, e := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return nil, nobody, nil
		}
	}
	return nil, "", err
}

// datagram sends one datagram from a socket that takes answers from everywhere:
// with one-packet scheduling the kernel does not make the answer the VIP's. A
// refusal is ICMP, of which such a socket hears only if it asks to, or what
// refused tells.
func datagram(client *topo.Host, from, to netip.AddrPort, refused func() bool) (string, error) {
	c, err := client.ListenPacket("udp", from)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := hearErrors(c.(syscall.Conn), from.Addr()); err != nil {
		return "", err
	}
	if _, err = c.WriteTo([]byte("name\n"), net.UDPAddrFromAddrPort(to)); err != nil {
		return "", err
	}
	buf := make([]byte, 200)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, _, err := c.ReadFrom(buf)
		switch {
		case err == nil:
			a, err := topo.ParseAnswer(string(buf[:n]))
			return a.Server, err
		case errors.Is(err, syscall.ECONNREFUSED):
			return nobody, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return "", err
		case refused():
			return nobody, nil
		}
	}
	return "", fmt.Errorf("no answer to %s > %s", from, to)
}

// hearErrors has a socket that is not connected hear of ICMP errors (ip(7)).
func hearErrors(c syscall.Conn, from netip.Addr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if from.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, refused)
}

// row is a server as both list it.
func row(name string, d ipvs.DestinationInfo) string {
	return strings.TrimSpace(fmt.Sprintln(name, "weight", d.Weight, "u", d.Upper, "l", d.Lower, "active", d.Active, "inactive", d.Inactive, "persistent", d.Persistent))
}

// rows are the servers of a service in the order of both tables.
func (w *twins) rows(k ipvs.ServiceKey) (kernel, ours []string) {
	w.t.Helper()
	list, err := w.ipvs.Destinations(k, nil)
	w.must(err)
	for _, d := range list {
		kernel = append(kernel, row(w.nameOf(d.Addr), d))
	}
	info, ok := w.engine.Service(k)
	if !ok {
		w.t.Fatalf("the engine has no %s", k)
	}
	for _, d := range info.Destinations {
		ours = append(ours, row(w.nameOf(d.Addr), d.DestinationInfo))
	}
	return kernel, ours
}

func (w *twins) nameOf(a netip.AddrPort) string {
	for _, h := range w.kernel.Servers {
		if a.Addr() == h.Addr4 || a.Addr() == h.Addr6 {
			return h.Name
		}
	}
	return a.String()
}
