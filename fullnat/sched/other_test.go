package sched

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Another choice is never one that was tried, ends with no server, and leaves
// overload flags as they were.
func TestChooseOther(t *testing.T) {
	for _, name := range Names() {
		s := loaded(t, name, ipvs.Sched1, 4) // sh and mh: with fallback
		full := map[*Server]bool{s.list[1]: true}
		s.list[1].overloaded = true
		from := netip.MustParseAddrPort("172.16.0.1:1024")
		var tried []*Server
		for {
			c, ok := s.ChooseOther(0, from, virtual(1), tried)
			if !ok {
				break
			}
			if d := c.Server; slices.Contains(tried, d) || full[d] {
				t.Fatalf("%s: chose %s, which was tried or is overloaded", name, d.config.Addr)
			}
			if tried = append(tried, c.Server); len(tried) == 1 { // the connection that tries it makes it so
				c.Server.overloaded, full[c.Server] = true, true
			}
		}
		if want := map[bool]int{true: 3}[name != "dh"]; len(tried) < want {
			t.Errorf("%s: %d choices, want %d", name, len(tried), want)
		}
		for _, d := range s.list {
			if d.overloaded != full[d] {
				t.Errorf("%s: the overload flag of %s is %v", name, d.config.Addr, d.overloaded)
			}
		}
	}
}

// Templates that one service lists are taken by another, and live as long.
func TestRestoreTemplates(t *testing.T) {
	old, s := loaded(t, "rr", ipvs.Persistent, 3), loaded(t, "rr", ipvs.Persistent, 3)
	from := netip.MustParseAddrPort("172.16.0.1:1024")
	var conn Conn
	choice, _ := old.Choose(0, from, virtual(1))
	old.Bind(0, &conn, choice, ipvs.TCP)
	for x := range old.Templates(10 * time.Second) {
		if x.Expires != 50*time.Second {
			t.Errorf("expires in %v, want 50s", x.Expires)
		}
		s.Restore(0, x.Client, x.Server.config.Addr, x.Expires)
		s.Restore(0, x.Client, x.Server.config.Addr, x.Expires) // again is no harm
	}
	s.Restore(0, from.Addr(), netip.MustParseAddrPort("192.0.2.1:1"), time.Minute) // no such server
	for i := range 3 {
		s.scheduler.choose(from, virtual(1)) // it would go round
		if c, _ := s.Choose(time.Duration(i)*time.Second, from, virtual(1)); c.Server.config.Addr != choice.Server.config.Addr {
			t.Errorf("server %s, want %s", c.Server.config.Addr, choice.Server.config.Addr)
		}
	}
	s.Advance(time.Minute)
	for x := range s.Templates(time.Minute) {
		t.Errorf("template of %s outlives its time", x.Client)
	}
}
