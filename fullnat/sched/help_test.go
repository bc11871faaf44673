package sched

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
)

var (
	client = netip.MustParseAddrPort("172.16.0.1:40000")
	web    = netip.MustParseAddrPort("192.0.2.10:80")
	webKey = ipvs.AddrService(ipvs.TCP, web)
)

// letters name servers in the order in which they are added: the list is the
// other way round.
const letters = "ABCDEFGH"

// bench is a service under test with a clock.
type bench struct {
	*testing.T
	*Service
	settings Settings
	now      time.Duration
	conns    []*Conn
}

func newBench(t *testing.T, c ipvs.Service, weights ...int32) *bench {
	t.Helper()
	b := &bench{T: t}
	if c.ServiceKey == (ipvs.ServiceKey{}) {
		c.ServiceKey = webKey
	}
	var err error
	b.Service, err = New(0, c, &b.settings)
	b.must(err)
	for i, w := range weights {
		b.must(b.AddServer(b.now, server(i, w)))
	}
	return b
}

func server(i int, weight int32) ipvs.Destination {
	return ipvs.Destination{Addr: serverAddr(i), Weight: weight}
}

func serverAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i + 1)}), 80)
}

func limited(i int, weight int32, upper, lower uint32) ipvs.Destination {
	d := server(i, weight)
	d.Upper, d.Lower = upper, lower
	return d
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// open opens a TCP connection, which stays established.
func (b *bench) open(from netip.AddrPort) string { return b.to(from, web) }

func (b *bench) to(from, virtual netip.AddrPort) string {
	choice, ok := b.Choose(b.now, from, virtual)
	c := &Conn{}
	b.conns = append(b.conns, c)
	if !ok {
		return "-"
	}
	b.Bind(b.now, c, choice, ipvs.TCP)
	b.SetState(c, Established)
	return letter(choice.Server)
}

func letter(d *Server) string {
	i := d.Destination().Addr.Addr().As4()[3] - 1
	return letters[i : i+1]
}

func (b *bench) opens(n int) string {
	var list []string
	for range n {
		list = append(list, b.open(client))
	}
	return strings.Join(list, " ")
}

func (b *bench) want(what, want, got string) {
	b.Helper()
	if want != got {
		b.Errorf("%s: got %s, want %s", what, got, want)
	}
}

// row has active, inactive and persistent of a server.
func (b *bench) row(i int) [3]uint32 {
	d := b.servers[serverAddr(i)].Info()
	return [3]uint32{d.Active, d.Inactive, d.Persistent}
}

func (b *bench) equal(what string, want, got any) {
	b.Helper()
	if d := cmp.Diff(want, got); d != "" {
		b.Errorf("%s: -want +got\n%s", what, d)
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}
