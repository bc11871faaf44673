package fullnat_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
)

// Answers of more sessions than a batch holds, and of two services, come at once:
// each client hears its own, in order, one or several; and when the servers have
// gone at once, each session hears of it and goes elsewhere.
func TestUDPAnswersTogether(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "io_uring", true: "plain"}[plain], func(t *testing.T) {
			answersTogether(t, fullnat.Config{Loops: 1, PlainCalls: plain})
		})
	}
}

func answersTogether(t *testing.T, config fullnat.Config) {
	const each = 150
	n := newNetwork()
	e := start(t, config)
	var services []fullnat.Service
	var servers []*net.UDPConn
	for i := range 2 {
		server, at := listenUDP(t, n.addr(byte(11+i)))
		server.SetReadBuffer(4 << 20)
		server.SetReadDeadline(time.Now().Add(patience))
		s := udpService(t, n.addr(byte(1+i)), "wlc", at)
		s.Options.Locals = n.locals(2)
		services, servers = append(services, s), append(servers, server)
	}
	apply(t, e, services...)
	type session struct {
		client *net.UDPConn
		server *net.UDPConn
		lip    netip.AddrPort
	}
	var sessions []session
	for i := range 2 * each {
		c := udpClient(t, services[i%2].Addr)
		c.SetReadDeadline(time.Now().Add(patience))
		send(t, c, []string{"hello"})
		_, _, lip := hearAll(t, servers[i%2], 1)
		sessions = append(sessions, session{c, servers[i%2], lip})
	}
	// Each pair of waves has the sessions known for one answer, then for several.
	for wave, counts := range [][]int{{1}, {1}, {3, 1, 0}, {0, 2, 1}, {1}, {1, 20}, {1}} {
		want := func(i int) (all []string) {
			for k := range counts[i%len(counts)] {
				all = append(all, fmt.Sprintf("wave %d, session %d, answer %d", wave, i, k))
			}
			return all
		}
		e.InLoops(func() { // which looks at none before it has all
			for i, s := range sessions {
				for _, text := range want(i) {
					s.server.WriteToUDPAddrPort([]byte(text), s.lip)
				}
			}
		})
		for i, s := range sessions {
			if got, _, _ := hearAll(t, s.client, len(want(i))); !slices.Equal(got, want(i)) {
				t.Fatalf("session %d heard %q, want %q", i, got, want(i))
			}
		}
	}
	if st := e.Services()[0].Stats; st.OutPkts == 0 || e.Errors().Dropped != 0 {
		t.Errorf("statistics %+v, errors %+v", st, e.Errors())
	}

	servers[0].Close()
	for i, s := range sessions {
		if i%2 == 0 {
			send(t, s.client, []string{"lost"})
		}
	}
	failed := func() uint64 { return e.Services()[0].Destinations[0].Failures }
	eventually(t, "each session hears that its server has gone", func() bool { return failed() == each })
	b, _ := serveUDP(t, n.addr(13), tagged("b "))
	services[0].Destinations = append(services[0].Destinations, udpService(t, n.addr(1), "wlc", b).Destinations...)
	apply(t, e, services...)
	for i, s := range sessions {
		if i%2 == 0 {
			if got := insist(t, s.client, "again"); got != "b again" {
				t.Fatalf("session %d: %q after its server has gone", i, got)
			}
		}
	}
}
