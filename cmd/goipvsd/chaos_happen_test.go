package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// happen has one thing happen.
func (c *chaos) happen() {
	c.Helper()
	things := []struct {
		odds int
		do   func()
	}{
		{8, c.moodSwing}, {2, c.cable}, {8, c.edited}, {2, c.nonsense}, {2, c.hangUps}, {2, c.restarted}, {3, c.killed}, {2, c.upgraded}, {8, c.operator}, {8, c.meddle},
		{2, c.noAddress}, {2, c.linkDown}, {1, c.clock}, {1, c.diskFull}, {1, c.noFiles}, {1, c.noMemory}, {2, c.frozen}, {1, c.noSocket},
	}
	n := 0
	for _, t := range things {
		n += t.odds
	}
	n = c.IntN(n)
	for _, t := range things {
		if n -= t.odds; n < 0 {
			t.do()
			return
		}
	}
}

// moodSwing: a server changes its mood, and may end its connections.
func (c *chaos) moodSwing() {
	seat := chaosSeat{1 + c.IntN(chaosHosts), 80 + c.IntN(2)}
	m := well
	if c.IntN(2) == 0 {
		m = mood(c.IntN(int(moods)))
	}
	c.say("server %v: mood %d", seat, m)
	c.echoes[seat].be(m)
	if c.IntN(3) == 0 {
		c.say("server %v ends its connections", seat)
		c.doom(func(s *chaosStream) bool {
			return s.host == seat.host && strings.HasSuffix(s.service, fmt.Sprint(":", seat.port))
		})
		c.echoes[seat].die()
	}
}

// cable: a real server is cut off, or back.
func (c *chaos) cable() {
	h := 1 + c.IntN(chaosHosts)
	c.say("cable of rs%d: %v", h, c.unplug[h])
	c.plug(h, c.unplug[h])
}

// edit changes one thing of the file to be.
func (c *chaos) edit() {
	if len(c.services) == 0 || len(c.services) < 6 && c.IntN(4) == 0 {
		c.add()
		return
	}
	s := c.some()
	h := 1 + c.IntN(chaosHosts)
	switch c.IntN(11) {
	case 0:
		if len(c.services) > 1 {
			c.say("edit: %s goes", s.key())
			c.gone(s)
			delete(c.services, s.key())
		}
	case 1:
		c.say("edit: %s renumbered", s.key())
		c.gone(s)
		delete(c.services, s.key())
		c.add()
	case 2, 3:
		s.servers[h] = chaosServer{weight: c.IntN(4), upper: 1000 * c.IntN(2)}
		c.say("edit: %s: rs%d %+v", s.key(), h, s.servers[h])
	case 4:
		c.say("edit: %s: rs%d goes", s.key(), h)
		delete(s.servers, h)
	case 5:
		c.schedule(s)
		c.say("edit: %s: %s", s.key(), s.scheduler)
	case 6:
		c.gone(s)
		c.method(s)
		c.say("edit: %s: %s %s", s.key(), s.forward, s.plane)
	case 7:
		s.persistent = 60 * c.IntN(3)
		c.say("edit: %s: persistent %d", s.key(), s.persistent)
	case 8:
		s.quiescent = !s.quiescent
		c.say("edit: %s: quiescent %v", s.key(), s.quiescent)
	case 9:
		s.drain = !s.drain
		c.say("edit: %s: drain %v", s.key(), s.drain)
	case 10:
		s.fallback = !s.fallback
		c.say("edit: %s: fallback %v", s.key(), s.fallback)
	}
}

// gone: connections of a service that is not what it was may end.
func (c *chaos) gone(s *chaosService) {
	c.doom(func(x *chaosStream) bool { return x.service == s.key() })
}

func (c *chaos) add() {
	s := &chaosService{proto: "tcp", addr: c.one("192.0.2.10:80 192.0.2.10:81 192.0.2.11:80 192.0.2.20:80"), quiescent: c.IntN(3) > 0, drain: c.IntN(3) == 0,
		fallback: c.IntN(2) == 0, servers: make(map[int]chaosServer)}
	if c.IntN(4) == 0 {
		s.proto, s.addr = "udp", c.one("192.0.2.10:53 192.0.2.11:53")
	}
	s.onEth0 = strings.HasPrefix(s.addr, chaosVIP.String())
	if c.services[s.key()] != nil {
		return
	}
	c.schedule(s)
	c.method(s)
	for h := 1; h <= chaosHosts; h++ {
		if c.IntN(4) > 0 {
			s.servers[h] = chaosServer{weight: 1 + c.IntN(3)}
		}
	}
	c.services[s.key()] = s
	c.say("edit: new %+v", *s)
}

func (c *chaos) schedule(s *chaosService) {
	s.scheduler, s.flags = c.one("rr wrr lc wlc sed nq sh mh"), ""
	if s.scheduler == "sh" || s.scheduler == "mh" {
		s.flags = s.scheduler + "-fallback" // without it they choose servers at weight 0
	}
}

func (c *chaos) method(s *chaosService) {
	s.forward, s.plane = c.one("nat nat dr fullnat fullnat"), ""
	if s.forward == "fullnat" {
		s.plane = c.one("userspace auto")
	}
}

// edited: the file is edited and reloaded, by a signal or by a command.
func (c *chaos) edited() {
	for range 1 + c.IntN(3) {
		c.edit()
	}
	c.write()
	if c.IntN(2) == 0 {
		c.say("HUP")
		c.family.signal(unix.SIGHUP)
		return
	}
	status, out, errw := c.goipvs("reload")
	c.say("goipvs reload: %s%s", out, errw)
	if status != 0 {
		c.Errorf("goipvs reload: status %d\n%s", status, errw)
	}
}

// nonsense: a file that is wrong changes nothing, and neither an upgrade nor a start
// goes by it.
func (c *chaos) nonsense() {
	c.say("nonsense in the file")
	bad := c.one("what=1 [[virtual]] weight=\"x\"")
	c.must(os.WriteFile(c.path("goipvs.toml"), []byte(c.head()+c.text()+bad+"\n"), 0o600))
	if status, out, _ := c.goipvs("reload"); status != 1 {
		c.Errorf("reload of nonsense: status %d: %s", status, out)
	}
	if c.IntN(3) == 0 {
		c.say("upgrade with it")
		if err := c.family.upgrade(); err == nil {
			c.Error("an upgrade to nonsense")
		}
	}
	c.write()
	c.family.signal(unix.SIGHUP)
}

// hangUps: edits and HUPs, many of them.
func (c *chaos) hangUps() {
	for range 12 {
		c.edit()
		c.write()
		c.say("HUP")
		c.family.signal(unix.SIGHUP)
	}
}

// while there is no daemon, other things may happen.
func (c *chaos) meanwhile() {
	c.doom(c.inUserSpace)
	if c.IntN(2) == 0 {
		c.edit()
		c.write()
	}
	if c.IntN(3) == 0 {
		c.moodSwing()
	}
	if c.IntN(3) == 0 {
		c.meddle()
	}
	c.family.start()
}

func (c *chaos) restarted() {
	c.say("TERM and start")
	c.family.end(unix.SIGTERM)
	c.meanwhile()
}

func (c *chaos) killed() {
	c.say("KILL and start")
	c.family.end(unix.SIGKILL)
	c.meanwhile()
}

func (c *chaos) upgraded() {
	c.say("upgrade")
	if err := c.family.upgrade(); err != nil {
		c.Errorf("upgrade: %v", err)
	}
}

// operator: a word about a server, which counts until it is taken back.
func (c *chaos) operator() {
	s := c.some()
	who := chaosWho{s.key(), 1 + c.IntN(chaosHosts)}
	word := chaosWord{kind: c.one("drain maintain weight enable enable"), weight: c.IntN(5)}
	args := []string{word.kind, "--service", s.name(), s.rip(who.host)}
	if word.kind == "weight" {
		args = append(args, fmt.Sprint(word.weight))
	}
	status, _, errw := c.goipvs(args...)
	c.say("goipvs %s: status %d %s", strings.Join(args, " "), status, errw)
	switch {
	case status != 0 && !strings.Contains(errw, "no such"):
		c.Errorf("goipvs %q: %s", args, errw)
	case status == 0 && word.kind == "enable":
		delete(c.words, who)
	case status == 0:
		c.words[who] = word
	}
}

// meddle: somebody else is at the kernel's table.
func (c *chaos) meddle() {
	s := c.some()
	dest := ipvs.Destination{Addr: netip.MustParseAddrPort(s.rip(1 + c.IntN(chaosHosts))), Weight: int32(c.IntN(9))}
	network := ipvs.TCP
	if s.proto == "udp" {
		network = ipvs.UDP
	}
	service := ipvs.Service{ServiceKey: ipvs.AddrService(network, netip.MustParseAddrPort(s.addr)), Scheduler: c.one("lc sed wrr")}
	ch := ipvs.Change{Op: []ipvs.Op{ipvs.AddService, ipvs.UpdateService, ipvs.DeleteService, ipvs.AddDestination, ipvs.UpdateDestination, ipvs.DeleteDestination}[c.IntN(6)],
		Service: service, Destination: dest}
	switch n := c.IntN(9); {
	case n == 0:
		c.say("ipvsadm -C")
		c.doom(func(*chaosStream) bool { return true })
		c.must(c.client.Flush())
		c.foreign()
	case n == 1:
		c.say("ipvsadm --set")
		c.must(c.client.SetTimeouts(ipvs.Timeouts{TCP: 700 * time.Second}))
	case n == 2 && ch.Op == ipvs.AddDestination:
		ch.Destination.Addr = netip.AddrPortFrom(netip.MustParseAddr("10.9.0.99"), ch.Destination.Addr.Port())
		fallthrough
	default:
		c.say("ipvsadm %s: %v", ch, c.client.Do(ch))
	}
}

// noAddress: a virtual address is gone for a while; one that is goipvsd's it puts back.
func (c *chaos) noAddress() {
	a := netip.MustParseAddr(c.one("192.0.2.10 192.0.2.11 192.0.2.20"))
	c.say("%s is taken away", a)
	c.must(c.onEth0(func(l chaosLink) error { l.remove(a); return nil }))
	if a != chaosVIP {
		c.nap()
		c.must(c.net.Director.AddAddr("eth0", netip.PrefixFrom(a, 32)))
	}
}

// nap is a moment in which something can be noticed: three requests of a client, none
// of which has to be answered.
func (c *chaos) nap() {
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
		_, _ = c.net.Client.Ask(ctx, "tcp", c.from(), netip.MustParseAddrPort("192.0.2.10:80"))
		cancel()
	}
}

// linkDown: an interface of the director goes down and up.
func (c *chaos) linkDown() {
	name := c.one("eth0 client1")
	c.say("%s down and up", name)
	set := func(f func(*netlink.Handle, netlink.Link) error) {
		c.must(c.net.Director.Do(func() error {
			return onLink(name, func(l chaosLink) error { return f(l.Handle, l.Link) })
		}))
	}
	set((*netlink.Handle).LinkSetDown)
	c.nap()
	set((*netlink.Handle).LinkSetUp)
	c.must(c.net.Own(c.net.Client, netip.PrefixFrom(c.net.Client.Addr4, 16))) // the route to it went with the link
}

// clock: it jumps, and back another time.
func (c *chaos) clock() {
	if lab.Kind() == "host" {
		return
	}
	by := 10 * time.Minute
	if c.shifted {
		by = -by
	}
	c.shifted = !c.shifted
	c.say("the clock jumps by %v", by)
	shift(c.rig, by)
}

// diskFull: what operators say counts; when there is room it is written.
func (c *chaos) diskFull() {
	c.say("disk full")
	fill := c.path("state/fill")
	_ = os.WriteFile(fill, make([]byte, 1<<20), 0o600)
	c.operator()
	c.operator()
	c.must(os.Remove(fill))
	c.saved()
}

// saved waits until the state file is written again.
func (c *chaos) saved() {
	c.Helper()
	c.family.await("the state is saved", func() bool {
		text := c.family.said()
		return strings.LastIndex(text, "event=state_saved") >= strings.LastIndex(text, "event=state_unsaved")
	})
}

// noFiles: the daemon has no descriptors left for a while.
func (c *chaos) noFiles() {
	c.say("no descriptors")
	var before unix.Rlimit
	c.must(unix.Prlimit(c.family.pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 524288}, &before))
	c.moodSwing()
	c.nap()
	c.meddle()
	c.nap()
	c.must(unix.Prlimit(c.family.pid, unix.RLIMIT_NOFILE, &before, nil))
}

// noMemory: there is hardly any for a while. Who dies of it is started again.
func (c *chaos) noMemory() {
	c.say("no memory")
	var size uint64
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.family.pid))
	c.must(err)
	_, text, _ := strings.Cut(string(b), "VmSize:")
	_, _ = fmt.Sscan(text, &size)
	pid := c.family.pid
	c.must(unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: (size + 2048) << 10, Max: unix.RLIM_INFINITY}, nil))
	c.moodSwing()
	c.nap()
	for range 5 {
		_, _ = c.rig.status()
	}
	if c.family.running(pid) && unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil) == nil && c.family.running(pid) {
		return
	}
	c.family.ends(pid)
	c.say("it dies, and is started")
	c.logged = len(c.family.said()) // which ends with what Go says then
	c.meanwhile()
}

// frozen: the daemon does nothing for a while.
func (c *chaos) frozen() {
	c.say("STOP and CONT")
	c.family.signal(unix.SIGSTOP)
	c.meddle()
	c.moodSwing()
	c.nap()
	c.family.signal(unix.SIGCONT)
}

// noSocket: the control socket is gone.
func (c *chaos) noSocket() {
	c.say("no control socket")
	_ = os.Remove(c.path("sock"))
	if c.IntN(2) == 0 {
		_ = os.Remove(c.path("sock.lock"))
	}
	c.family.await("the socket is back", func() bool { _, err := c.rig.status(); return err == nil })
}

// hammer has others at the control socket until stop: some ask without pause, some
// ask and do not read, some talk nonsense.
func (c *chaos) hammer() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, do := range []func(context.Context, net.Conn){
		func(ctx context.Context, conn net.Conn) { // asks
			_, _ = io.WriteString(conn, `{"id":1,"verb":"status"}`+"\n")
			_, _ = io.ReadFull(conn, make([]byte, 100))
		},
		func(ctx context.Context, conn net.Conn) { // does not read
			for range 50 {
				if _, err := io.WriteString(conn, `{"id":1,"verb":"status"}`+"\n"); err != nil {
					return
				}
			}
			<-ctx.Done()
		},
		func(ctx context.Context, conn net.Conn) { _, _ = io.WriteString(conn, "{{{{\n\x00") },
		func(ctx context.Context, conn net.Conn) { <-ctx.Done() }, // says nothing
	} {
		all.Go(func() {
			for ctx.Err() == nil {
				once, done := context.WithTimeout(ctx, time.Second)
				var d net.Dialer
				if conn, err := d.DialContext(once, "unix", c.path("sock")); err == nil {
					_ = conn.SetDeadline(time.Now().Add(time.Second))
					do(once, conn)
					conn.Close()
				}
				done()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}
