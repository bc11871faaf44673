package sched

import (
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

func TestErrors(t *testing.T) {
	if _, err := New(0, ipvs.Service{ServiceKey: webKey, Scheduler: "twos"}, nil); !is(ipvs.ErrNoScheduler)(err) {
		t.Errorf("New: %v", err)
	}
	b := newBench(t, ipvs.Service{Scheduler: "rr"}, 1)
	gone := server(1, 1)
	b.must(b.AddServer(0, gone))
	b.must(b.DeleteServer(0, gone.Addr))
	for _, tc := range []struct {
		name string
		err  error
		want error
		text string
	}{
		{"add twice", b.AddServer(0, server(0, 1)), ipvs.ErrExists, "sched: add server 10.0.0.1:80: already exists"},
		{"negative weight", b.AddServer(0, server(2, -1)), ipvs.ErrRange, "sched: add server 10.0.0.3:80: out of range: weight -1"},
		{"thresholds", b.UpdateServer(0, limited(0, 1, 2, 3)), ipvs.ErrRange, "sched: update server 10.0.0.1:80: out of range: lower threshold 3 above upper threshold 2"},
		{"no address", b.AddServer(0, ipvs.Destination{}), ipvs.ErrInvalid, "sched: add server invalid AddrPort: invalid argument: no address"},
		{"update a stranger", b.UpdateServer(0, server(2, 1)), ipvs.ErrNoDestination, "sched: update server 10.0.0.3:80: no such destination"},
		{"update what is deleted", b.UpdateServer(0, gone), ipvs.ErrNoDestination, "sched: update server 10.0.0.2:80: no such destination"},
		{"delete twice", b.DeleteServer(0, gone.Addr), ipvs.ErrNoDestination, "sched: delete server 10.0.0.2:80: no such destination"},
		{"no scheduler", b.Update(0, ipvs.Service{Scheduler: "x"}), ipvs.ErrNoScheduler, "sched: update service tcp 192.0.2.10:80 x: scheduler not available"},
	} {
		if !is(tc.want)(tc.err) || tc.err.Error() != tc.text {
			t.Errorf("%s: got %v, want %s", tc.name, tc.err, tc.text)
		}
	}
	if b.Server(gone.Addr) != nil || b.Server(serverAddr(0)) == nil {
		t.Error("Server finds what is deleted, or not what is there")
	}
}

func TestThresholds(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr"})
	b.must(b.AddServer(0, limited(0, 1, 4, 0)))
	b.want("four and one more", "A A A A -", b.opens(5))
	b.End(0, b.conns[0])
	b.want("three left", "-", b.opens(1))
	b.End(0, b.conns[1])
	b.want("two left", "A", b.opens(1))

	b.must(b.UpdateServer(0, limited(0, 1, 2, 0)))
	b.want("lowered below what there is", "A -", b.opens(2))
	b.must(b.UpdateServer(0, limited(0, 1, 2, 0)))
	b.want("the same again", "-", b.opens(1))
	b.must(b.UpdateServer(0, limited(0, 1, 9, 8)))
	b.want("raised", "A A A A A -", b.opens(6))
	b.End(0, b.conns[2])
	b.want("eight left", "-", b.opens(1))
	b.End(0, b.conns[3])
	b.want("seven left", "A", b.opens(1))
	b.must(b.UpdateServer(0, server(0, 1)))
	b.want("no threshold", "A A A", b.opens(3))
}

// Newer kernels look at the connections there are when a threshold changes.
func TestPromptThresholds(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr"})
	b.settings.PromptThresholds = true
	b.must(b.AddServer(0, limited(0, 1, 4, 0)))
	b.want("four and one more", "A A A A -", b.opens(5))
	b.End(0, b.conns[0])
	b.want("three left", "-", b.opens(1))
	b.must(b.UpdateServer(0, limited(0, 1, 5, 4)))
	b.want("below the new lower threshold", "A", b.opens(1))
	b.must(b.UpdateServer(0, limited(0, 1, 4, 4)))
	b.want("lowered to what there is", "-", b.opens(1))
	b.must(b.UpdateServer(0, limited(0, 1, 9, 2)))
	b.want("raised, but not below the lower threshold", "-", b.opens(1))
	b.must(b.UpdateServer(0, limited(0, 1, 9, 0)))
	b.want("raised, and below three quarters", "A A A A A -", b.opens(6))
	b.must(b.UpdateServer(0, server(0, 1)))
	b.want("no threshold", "A", b.opens(1))
}

// A closed connection counts until its entry ends.
func TestStates(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr"}, 1)
	choice, _ := b.Choose(0, client, web)
	var c Conn
	for _, tc := range []struct {
		state State
		want  [3]uint32
	}{
		{None, [3]uint32{0, 1, 0}}, {SynRecv, [3]uint32{1, 0, 0}}, {Established, [3]uint32{1, 0, 0}},
		{FinWait, [3]uint32{0, 1, 0}}, {TimeWait, [3]uint32{0, 1, 0}}, {Established, [3]uint32{1, 0, 0}},
		{State(200), [3]uint32{0, 1, 0}},
	} {
		if tc.state == None {
			b.Bind(0, &c, choice, ipvs.TCP)
		}
		b.SetState(&c, tc.state)
		b.equal(tc.state.String(), tc.want, b.row(0))
	}
	for range 2 { // the second time there is nothing to end
		b.End(0, &c)
		b.SetState(&c, Established)
		b.equal("ended", [3]uint32{}, b.row(0))
	}
	if c.Server() != nil {
		t.Error("the connection still has a server")
	}
}

func TestLifetime(t *testing.T) {
	own := ipvs.Timeouts{TCP: time.Second, TCPFin: 2 * time.Second, UDP: 3 * time.Second}
	for _, tc := range []struct {
		p    ipvs.Protocol
		st   State
		t    ipvs.Timeouts
		want time.Duration
	}{
		{ipvs.TCP, SynRecv, own, time.Minute},
		{ipvs.TCP, Established, ipvs.Timeouts{}, 900 * time.Second},
		{ipvs.TCP, Established, own, time.Second},
		{ipvs.TCP, FinWait, ipvs.Timeouts{}, 120 * time.Second},
		{ipvs.TCP, FinWait, own, 2 * time.Second},
		{ipvs.TCP, CloseWait, own, time.Minute},
		{ipvs.TCP, TimeWait, own, 120 * time.Second},
		{ipvs.TCP, Close, own, 10 * time.Second},
		{ipvs.TCP, State(99), own, 0},
		{ipvs.UDP, None, ipvs.Timeouts{}, 300 * time.Second},
		{ipvs.UDP, None, own, 3 * time.Second},
		{ipvs.SCTP, SynSent, own, 4 * time.Second},
		{ipvs.SCTP, SynRecv, own, 61 * time.Second},
		{ipvs.SCTP, Established, own, 900 * time.Second},
		{ipvs.SCTP, Close, own, 61 * time.Second},
	} {
		if got := Lifetime(tc.p, tc.st, tc.t); got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.p, tc.st, got, tc.want)
		}
	}
}

// The kernel chooses before the connection that had the client port ends.
func TestPortReuse(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "lc"}, 1, 1)
	b.want("choices", "B A", b.opens(2))
	c := b.conns[0]
	b.SetState(c, TimeWait)
	choice, _ := b.Choose(0, client, web)
	b.Bind(0, c, choice, ipvs.TCP)
	b.want("server", "B", letter(c.Server()))
	b.equal("B", [3]uint32{0, 1, 0}, b.row(1)) // 1 in TIME_WAIT is less than 256
	b.equal("A", [3]uint32{1, 0, 0}, b.row(0))
}

func TestTrash(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr"})
	b.must(b.AddServer(0, limited(0, 1, 2, 0)))
	b.want("full", "A A -", b.opens(3))
	d := b.Server(serverAddr(0))
	b.must(b.DeleteServer(0, serverAddr(0)))
	if d.InService() {
		t.Error("deleted, and in service")
	}
	b.now = time.Hour
	b.must(b.AddServer(b.now, limited(0, 1, 2, 0)))
	if b.Server(serverAddr(0)) != d {
		t.Error("it came back as another")
	}
	b.want("still full after an hour", "-", b.opens(1))

	// Without references it is gone after two minutes, and the minute is over.
	b.must(b.DeleteServer(b.now, serverAddr(0)))
	b.End(b.now, b.conns[0])
	b.End(b.now, b.conns[1])
	b.Advance(b.now + 179*time.Second)
	if b.servers[serverAddr(0)] != d {
		t.Error("gone before its time")
	}
	b.now += 180 * time.Second
	b.must(b.AddServer(b.now, limited(0, 1, 2, 0)))
	if b.Server(serverAddr(0)) == d {
		t.Error("the old one is back")
	}
}

// Time that goes backwards stands still, and a long time is caught up.
func TestTime(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr", Flags: ipvs.Persistent, Timeout: time.Minute}, 1)
	b.now = time.Hour
	b.open(client)
	b.now = 0
	b.open(netip.MustParseAddrPort("172.16.0.2:1"))
	b.equal("templates", [3]uint32{2, 0, 2}, b.row(0))
	b.Advance(365 * 24 * time.Hour)
	b.equal("templates are held", [3]uint32{2, 0, 2}, b.row(0))
	b.Advance(-never)
	b.End(0, b.conns[0])
	b.End(0, b.conns[1])
	b.Advance(366 * 24 * time.Hour)
	b.equal("templates have ended", [3]uint32{}, b.row(0))
	b.Advance(never)
}
