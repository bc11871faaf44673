package oracle

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// network is that of the recorded traffic: a client 10.1.0.2, a director with
// virtual addresses, and behind it the real servers 10.2.0.11 and 10.2.0.12.
type network struct {
	*topo.Net
	t      *testing.T
	client *topo.Host
	kernel kernel // the director's
	web    *topo.Server
	held   []*topo.Conn
}

// web is where the first real server's web server is.
var web = netip.MustParseAddrPort("10.2.0.11:8080")

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{Net: topotest.New(t, topo.Spec{Clients: 2, Servers: 2, IPv6: true}), t: t}
	n.client = n.Clients[1] // the first owns the network of the virtual IPv6 address
	for _, vip := range []string{"10.0.0.1", "10.0.0.2", "2001:db8::80"} {
		must(t, n.AddVIP(netip.MustParseAddr(vip)))
	}
	for _, own := range []string{"10.1.0.2/32", "2001:db8:1::2/128"} {
		must(t, n.Own(n.client, netip.MustParsePrefix(own)))
	}
	for h, addrs := range map[*topo.Host][]string{
		n.Director:   {"10.2.0.2/24", "2001:db8:2::2/64"},
		n.Servers[0]: {"10.2.0.11/24", "2001:db8:2::11/64"},
		n.Servers[1]: {"10.2.0.12/24", "2001:db8:2::12/64"},
	} {
		for _, a := range addrs {
			must(t, h.AddAddr("eth0", netip.MustParsePrefix(a)))
		}
	}
	must(t, n.Prepare(topo.NAT))
	for i, s := range n.Servers {
		addrs := [][]netip.Addr{
			{netip.MustParseAddr("10.2.0.11"), netip.MustParseAddr("2001:db8:2::11")},
			{netip.MustParseAddr("10.2.0.12"), netip.MustParseAddr("2001:db8:2::12")},
		}[i]
		for _, at := range []struct {
			network string
			port    uint16
		}{{"tcp", 8080}, {"udp", 53}, {"udp", 5060}} {
			server, err := s.Serve(at.network, at.port, addrs...) // until the network is closed
			must(t, err)
			if slices.Contains(addrs, web.Addr()) && at.port == web.Port() {
				n.web = server
			}
		}
	}
	must(t, n.Director.Do(func() error {
		c, err := ipvs.Dial(ipvs.Options{})
		n.kernel = kernel{c}
		return err
	}))
	t.Cleanup(func() {
		n.close()
		n.kernel.Client.Close()
	})
	return n
}

// run runs goipvs on the director.
func (n *network) run(stdin string, argv ...string) (a answer) {
	must(n.t, n.Director.Do(func() error {
		a = n.kernel.run("/sbin/ipvsadm", stdin, argv...)
		return nil
	}))
	return a
}

// rules carries out rules on the director.
func (n *network) rules(rules string) {
	n.t.Helper()
	if a := n.run(rules, "-R"); a != (answer{}) {
		n.t.Fatalf("rules: %+v", a)
	}
}

// mark has the director mark packets to an address.
func (n *network) mark(to string, mark uint32) {
	n.t.Helper()
	must(n.t, n.Director.Mark("tcp", netip.MustParseAddrPort(to), mark))
}

// exchange sends a request to a virtual service, which is answered; the
// connection is held open.
func (n *network) exchange(proto, from, to, request string) {
	n.t.Helper()
	c, err := n.client.Dial(context.Background(), proto, netip.MustParseAddrPort(from), netip.MustParseAddrPort(to))
	must(n.t, err)
	n.held = append(n.held, c)
	_, err = c.Say(context.Background(), request)
	must(n.t, err)
}

// connect opens connections to a virtual service and holds them.
func (n *network) connect(to string, from ...string) {
	n.t.Helper()
	for _, f := range from {
		c, err := n.client.Dial(context.Background(), "tcp", netip.MustParseAddrPort(f), netip.MustParseAddrPort(to))
		must(n.t, err)
		n.held = append(n.held, c)
	}
}

// close closes what is held.
func (n *network) close() {
	for _, c := range n.held {
		c.Close()
	}
	n.held = nil
}

// call tries to connect to where nobody answers.
func (n *network) call(to, from string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	c, err := n.client.Dial(ctx, "tcp", netip.MustParseAddrPort(from), netip.MustParseAddrPort(to))
	if err == nil {
		c.Close()
		n.t.Fatal("somebody answered")
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		n.t.Fatal(err)
	}
}

// upload sends a million bytes so many times over one connection. Its own server
// reads them in large pieces, as a system call takes its time in the lab.
func (n *network) upload(to string, times int) {
	n.t.Helper()
	must(n.t, n.web.Close())
	l, err := n.Servers[0].Listen("tcp", web)
	must(n.t, err)
	defer l.Close()
	got := make(chan int64, 1)
	go func() { got <- drain(l) }()
	c, err := n.client.Dial(context.Background(), "tcp", netip.MustParseAddrPort("10.1.0.2:47001"), netip.MustParseAddrPort(to))
	must(n.t, err)
	for range times {
		_, err := c.Write(make([]byte, 1e6))
		must(n.t, err)
	}
	must(n.t, c.Close())
	if n1, want := <-got, int64(times)*1e6; n1 != want {
		n.t.Fatalf("%d bytes of %d arrived", n1, want)
	}
}

// drain counts what one connection brings.
func drain(l net.Listener) int64 {
	c, err := l.Accept()
	if err != nil {
		return -1
	}
	defer c.Close()
	n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<20))
	return n
}

// shoot sends a datagram that gets no answer, and waits for it to be counted.
func (n *network) shoot(to, from string) {
	n.t.Helper()
	c, err := n.client.Dial(context.Background(), "udp", netip.MustParseAddrPort(from), netip.MustParseAddrPort(to))
	must(n.t, err)
	_, err = c.Write([]byte("name\n"))
	must(n.t, errors.Join(err, c.Close()))
	soon(n.t, "packets counted", func() string {
		f := strings.Fields(n.run("", "-Ln", "--stats").Stdout)
		if i := slices.Index(f, to); i >= 0 && f[i+2] == "1" {
			return ""
		}
		return strings.Join(f, " ")
	})
}
