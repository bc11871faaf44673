package traffic_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// deleted is a service on two servers with a connection to each, in a namespace
// that has another service.
type deleted struct {
	*balancer
	service      ipvs.Service
	dests        []ipvs.Destination
	conn1, conn2 *topo.Conn    // to rs1 and rs2
	at2          *topo.Capture // on rs2, begun when conn2 was open
}

func newDeleted(t *testing.T) deleted {
	t.Helper()
	d := deleted{balancer: newBalancer(t, topo.Spec{Servers: 2}, topo.NAT)}
	d.add(t, ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(d.VIP4, 81)), Scheduler: "rr"})
	d.service = ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(d.VIP4, 80)), Scheduler: "rr"}
	d.dests = d.all(nat, d.service)
	d.add(t, d.service, d.dests...)
	d.serve(t, "tcp", 80)
	var server1, server2 string
	d.conn2, server2 = d.open(t, "tcp", d.from(d.Client.Addr4), d.service.Addr)
	d.conn1, server1 = d.open(t, "tcp", d.from(d.Client.Addr4), d.service.Addr)
	equal(t, "servers", []string{"rs2", "rs1"}, []string{server2, server1})
	d.at2 = topotest.Capture(t, d.Servers[1], "eth0")
	return d
}

// next are the servers of new connections.
func (d deleted) next(t *testing.T, n int) []string {
	t.Helper()
	return d.whoNext(t, n, "tcp", d.Client.Addr4, d.service.Addr)
}

// wantBack wants both connections to go on, and to be counted.
func (d deleted) wantBack(t *testing.T, active ...uint32) {
	t.Helper()
	equal(t, "servers of the old connections", []string{"rs1", "rs2"}, []string{whoHas(t, d.conn1), whoHas(t, d.conn2)})
	for i, dest := range d.dests {
		equal(t, "active connections of "+d.Servers[i].Name, active[i], d.destination(t, d.service, dest.Addr).Active)
	}
}

// Packets of a deleted server's connections are dropped without a word, until it
// comes back. The other server never notices.
func TestKernelDeletedDestination(t *testing.T) {
	d := newDeleted(t)
	d.do(t, ipvs.DeleteDestination, d.service, d.dests[1])
	wantSilence(t, d.conn2)
	equal(t, "packets that reached rs2", []string(nil), d.lines(d.packets(t, d.at2)))
	equal(t, "server of the other connection", "rs1", whoHas(t, d.conn1))
	equal(t, "servers of new connections", []string{"rs1", "rs1"}, d.next(t, 2))
	d.do(t, ipvs.AddDestination, d.service, d.dests[1])
	d.wantBack(t, 3, 1)
}

// The same with a service, while there is another one of its family.
func TestKernelDeletedService(t *testing.T) {
	d := newDeleted(t)
	must(t, d.ipvs.Do(ipvs.Change{Op: ipvs.DeleteService, Service: d.service}))
	wantSilence(t, d.conn2)
	equal(t, "packets that reached rs2", []string(nil), d.lines(d.packets(t, d.at2)))
	equal(t, "server of a new connection", []string{"refused"}, d.next(t, 1))
	d.add(t, d.service, d.dests...)
	d.wantBack(t, 1, 1)
}

// With the last service of a family IPVS stops looking at packets at all
// (__ip_vs_del_service unregisters the hooks). The director itself gets those of
// open connections, and resets them. Only who was silent meanwhile goes on.
func TestKernelFlushed(t *testing.T) {
	d := newDeleted(t)
	must(t, d.ipvs.Flush())
	if a, err := d.conn1.Ask(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("answer %v, error %v, want a reset", a, err)
	}
	d.add(t, d.service, d.dests...)
	equal(t, "server of the silent connection", "rs2", whoHas(t, d.conn2))
	equal(t, "servers of new connections", []string{"rs2", "rs1"}, d.next(t, 2))
}

// Told to, the director ends the connections of a deleted server instead: a
// packet of one is nobody's then, and the director resets it.
func TestKernelDeletedDestinationExpires(t *testing.T) {
	d := newDeleted(t)
	must(t, d.Director.Sysctl("net.ipv4.vs.expire_nodest_conn", "1"))
	d.do(t, ipvs.DeleteDestination, d.service, d.dests[1])
	if a, err := d.conn2.Ask(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("answer %v, error %v, want a reset", a, err)
	}
	equal(t, "server of the other connection", "rs1", whoHas(t, d.conn1))
}
