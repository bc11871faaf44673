package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

var (
	chaosSeed = flag.Uint64("chaos-seed", 1, "of TestKernelChaos")
	chaosTime = flag.Duration("chaos", 500*time.Millisecond, "how long TestKernelChaos goes on; a life is a minute at most")
)

const (
	chaosHosts    = 3 // real servers
	chaosFallback = 4 // the host that is every fallback

	chaosPatience = 40 * time.Second // with what takes a few seconds on a busy machine
)

// TestKernelChaos: one goipvsd, the kernel's IPVS and full NAT beside each other, with
// clients and servers, and everything that can happen to them, at random and at once.
// When it has settled, after each step: the tables are what file, health and operators
// ask for by a model of the test's own; status says what they hold; clients are served
// by who should serve them; connections through living servers go on. In the end
// nothing has leaked. A failure prints its history, -chaos-seed makes the same one.
// It runs late, see TestKernelPlaneComesAndGoes.
func TestKernelChaos(t *testing.T) {
	end := time.Now().Add(*chaosTime)
	for seed := *chaosSeed; ; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			c := newChaos(t, seed)
			c.live(min(time.Until(end), time.Minute))
		})
		if time.Now().After(end) {
			return
		}
	}
}

// chaos is a life of a goipvsd, and what must be true in it.
type chaos struct {
	*rig
	*rand.Rand
	services map[string]*chaosService // of the file, by key
	words    map[chaosWho]chaosWord
	echoes   map[chaosSeat]*chaosEcho
	unplug   map[int]bool // hosts without a cable
	streams  []*chaosStream
	family   *chaosFamily
	history  []string
	port     uint16 // of the client's next connection: none is used twice
	logged   int    // of the log, up to the last step
	slowest  time.Duration
	flaps    int
	shifted  bool // the clock
}

// chaosStream is a connection that lasts. One that is doomed may end.
type chaosStream struct {
	*stream
	service string
	host    int
	doomed  bool
}

func newChaos(t *testing.T, seed uint64) *chaos {
	r := newRig(t, topo.Spec{Servers: chaosFallback})
	c := &chaos{rig: r, Rand: rand.New(rand.NewPCG(seed, 0)), services: make(map[string]*chaosService), words: make(map[chaosWho]chaosWord),
		echoes: make(map[chaosSeat]*chaosEcho), unplug: make(map[int]bool), port: 10000}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was done:\n%s", strings.Join(c.history, "\n"))
		}
	})
	for h := 1; h <= chaosFallback; h++ {
		for _, port := range []int{80, 81} {
			c.echoes[chaosSeat{h, port}] = newChaosEcho(r, chaosSeat{h, port})
		}
		_, err := r.net.Servers[h-1].Serve("udp", 53)
		r.must(err)
	}
	for _, a := range []string{"192.0.2.11/32", "10.9.1.1/16", "10.9.1.2/16"} {
		r.must(r.net.Director.AddAddr("eth0", netip.MustParsePrefix(a)))
	}
	r.must(r.net.Director.Sysctl("net.ipv4.vs.expire_quiescent_template", "1"))
	r.must(os.Mkdir(r.path("state"), 0o700))
	r.must(unix.Mount("tmpfs", r.path("state"), "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { _ = unix.Unmount(r.path("state"), unix.MNT_DETACH) })
	r.foreign()
	c.family = newChaosFamily(c)
	t.Cleanup(func() {
		if c.shifted {
			c.clock()
		}
	})
	for range 3 {
		c.edit()
	}
	c.write()
	c.family.start()
	c.settled()
	return c
}

// live has things happen for so long, and after a long life looks at what is left.
func (c *chaos) live(d time.Duration) {
	stop := c.hammer()
	for end, n := time.Now().Add(d), 0; n < 3 || time.Now().Before(end); n++ {
		for range 1 + c.IntN(3) {
			c.happen()
		}
		c.settled()
		if c.Failed() {
			stop()
			c.FailNow()
		}
	}
	stop()
	if d > 10*time.Second { // after a few steps there is nothing to be seen
		c.finish()
	}
	c.Logf("%d things happened, all had settled after %v at the latest, %d checks of living servers timed out", len(c.history), c.slowest, c.flaps)
}

func (c *chaos) say(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf(format, args...))
}

// one picks a word.
func (c *chaos) one(words string) string {
	all := strings.Fields(words)
	return all[c.IntN(len(all))]
}

// some picks a service of the file.
func (c *chaos) some() *chaosService {
	keys := slices.Sorted(maps.Keys(c.services))
	return c.services[keys[c.IntN(len(keys))]]
}

// up is what checks must find.
func (c *chaos) up(s chaosSeat) bool {
	e := c.echoes[s]
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mood == well && !c.unplug[s.host]
}

// doom: what is to happen may end these streams.
func (c *chaos) doom(which func(*chaosStream) bool) {
	for _, s := range c.streams {
		s.doomed = s.doomed || which(s)
	}
}

// inUserSpace are the streams that end with their process.
func (c *chaos) inUserSpace(s *chaosStream) bool {
	v := c.services[s.service]
	return v == nil || v.forward == "fullnat"
}

// write makes goipvs.toml.
func (c *chaos) write() { c.file(c.text()) }

func (c *chaos) text() string {
	var b strings.Builder
	b.WriteString("hold_on_mass_failure = 1.0\nmax_removal = 1.0\nreconcile = \"300ms\"\n[timeouts]\ntcp = \"800s\"\nudp = \"5s\"\n[check]\ninterval = \"300ms\"\ntimeout = \"3s\"\n")
	for _, key := range slices.Sorted(maps.Keys(c.services)) {
		c.services[key].write(&b)
	}
	return b.String()
}

// settled waits until all is as it must be, and looks at the clients.
func (c *chaos) settled() {
	c.Helper()
	begin := time.Now()
	for why := c.differs(); why != ""; why = c.differs() {
		if time.Since(begin) > chaosPatience {
			c.explain(why)
		}
		time.Sleep(30 * time.Millisecond)
	}
	c.slowest = max(c.slowest, time.Since(begin))
	c.readLog()
	c.clients()
}

// explain ends the test: it has not settled.
func (c *chaos) explain(why string) {
	c.Helper()
	_, status, _ := c.goipvs("status")
	c.family.quit()
	c.Fatalf("after %v: %s\nthe kernel has\n%s\n%s", chaosPatience, why, c.table(), status)
}

// differs is how the tables, status and addresses are not what they must be.
func (c *chaos) differs() string {
	kernel, leaving, err := c.kernelTable()
	if err != nil {
		return err.Error()
	}
	proxy, gone, planes, err := c.proxyTable()
	if err != nil {
		return err.Error()
	}
	maps.Copy(leaving, gone)
	for key, plane := range planes {
		if plane == "kernel" {
			proxy[key] = strings.ReplaceAll(kernel[key], " nat ", " fullnat ")
			delete(kernel, key)
		}
	}
	const foreign = "udp 203.0.113.9:53"
	if kernel[foreign] != foreign+" wlc\n  10.9.0.13:53 nat 7" {
		return "the service of somebody else is\n" + kernel[foreign]
	}
	delete(kernel, foreign)
	for key, s := range c.services {
		have, other := kernel[key], proxy[key]
		if s.forward == "fullnat" {
			have, other = other, have
		}
		if why := compare(c.want(s), have, leaving[key]); why != "" {
			return why
		}
		if other != "" {
			return "both planes have " + key + ":\n" + other
		}
		delete(kernel, key)
		delete(proxy, key)
	}
	for _, table := range []map[string]string{kernel, proxy} {
		for key, have := range table {
			if !leaving[key][""] { // of a service that drains
				return "nobody wants\n" + have
			}
		}
	}
	if t, err := c.client.Timeouts(); err != nil || t.TCP != 800*time.Second {
		return fmt.Sprint("timeouts are ", t, err)
	}
	return cmp.Or(c.statusDiffers(), c.vipDiffers())
}

// want is a service as a table has it.
func (c *chaos) want(s *chaosService) string {
	weights, _ := s.wanted(c.up, c.words)
	lines := []string{s.head()}
	for _, h := range slices.Sorted(maps.Keys(weights)) {
		lines = append(lines, s.line(h, weights[h]))
	}
	return strings.Join(lines, "\n")
}

// compare holds a table's service against the one that is wanted. Lines more are
// those of servers at weight 0 that have connections.
func compare(want, have string, leaving map[string]bool) string {
	w, h := strings.Split(want, "\n"), strings.Split(have, "\n")
	h = slices.DeleteFunc(h, func(line string) bool {
		return !slices.Contains(w, line) && leaving[line]
	})
	if slices.Equal(w, h) {
		return ""
	}
	return fmt.Sprintf("want\n%s\nthere is\n%s", want, have)
}

// kernelTable is the kernel's, a text for each service, and of each service the lines
// of servers that may be on their way out; "" is among them when the service may be.
func (c *chaos) kernelTable() (table map[string]string, leaving map[string]map[string]bool, err error) {
	table, leaving = make(map[string]string), make(map[string]map[string]bool)
	services, err := c.client.Services()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range services {
		head := s.ServiceKey.String() + " " + s.Scheduler
		if s.Flags&ipvs.Persistent != 0 {
			head += fmt.Sprint(" persistent ", int(s.Timeout.Seconds()), "s")
		}
		if s.Flags&ipvs.Sched1 != 0 {
			head += " " + s.Scheduler + "-fallback"
		}
		dests, err := c.client.Destinations(s.ServiceKey, nil)
		if err != nil {
			return nil, nil, err
		}
		var lines []string
		away := make(map[string]bool)
		for _, d := range dests {
			line := fmt.Sprintf("  %s %s %d", d.Addr, d.Method, d.Weight)
			if d.Upper > 0 {
				line += fmt.Sprint(" upper ", d.Upper)
			}
			lines = append(lines, line)
			if d.Weight == 0 && (d.Active > 0 || s.Protocol == ipvs.UDP && d.Inactive > 0) {
				away[line], away[""] = true, true
			}
		}
		slices.Sort(lines)
		table[s.ServiceKey.String()] = strings.Join(append([]string{head}, lines...), "\n")
		leaving[s.ServiceKey.String()] = away
	}
	return table, leaving, nil
}

// proxyTable is full NAT's, and where each service of it runs.
func (c *chaos) proxyTable() (table map[string]string, leaving map[string]map[string]bool, planes map[string]string, err error) {
	var list struct {
		Services []struct {
			Protocol, Address, Scheduler string
			Port                         uint16
			Persistent                   int `json:"persistent_timeout"`
			Flags                        []string
			FullNAT                      struct {
				RunsIn string `json:"runs_in"`
			} `json:"fullnat"`
			Destinations []struct {
				Address       string
				Port          uint16
				Method        string
				Weight        int
				Upper         int    `json:"upper_threshold"`
				ActiveConns   uint32 `json:"active_conns"`
				InactiveConns uint32 `json:"inactive_conns"`
			}
		}
	}
	if err := c.request("fullnat_list", &list); err != nil {
		return nil, nil, nil, err
	}
	table, leaving, planes = make(map[string]string), make(map[string]map[string]bool), make(map[string]string)
	for _, s := range list.Services {
		key := fmt.Sprintf("%s %s:%d", s.Protocol, s.Address, s.Port)
		head := key + " " + s.Scheduler
		if s.Persistent > 0 {
			head += fmt.Sprintf(" persistent %ds", s.Persistent)
		}
		if slices.Contains(s.Flags, s.Scheduler+"-fallback") {
			head += " " + s.Scheduler + "-fallback"
		}
		var lines []string
		away := make(map[string]bool)
		for _, d := range s.Destinations {
			line := fmt.Sprintf("  %s:%d %s %d", d.Address, d.Port, d.Method, d.Weight)
			if d.Upper > 0 {
				line += fmt.Sprint(" upper ", d.Upper)
			}
			lines = append(lines, line)
			if d.Weight == 0 && (d.ActiveConns > 0 || s.Protocol == "udp" && d.InactiveConns > 0) {
				away[line], away[""] = true, true
			}
		}
		slices.Sort(lines)
		table[key] = strings.Join(append([]string{head}, lines...), "\n")
		leaving[key], planes[key] = away, s.FullNAT.RunsIn
	}
	return table, leaving, planes, nil
}

// statusDiffers: goipvs status agrees.
func (c *chaos) statusDiffers() string {
	st, err := c.rig.status()
	if err != nil {
		return err.Error()
	}
	if st.Kernel != "ok" || st.Hold != nil || st.WithoutIPVS != "" {
		return fmt.Sprintf("status: %+v", st)
	}
	seen := 0
	for _, v := range st.Services {
		s := c.services[v.Service]
		if s == nil {
			if v.State != "leaving" {
				return "status: nobody wants " + v.Service + ", which is " + v.State
			}
			continue
		}
		seen++
		weights, capacity := s.wanted(c.up, c.words)
		state := "down"
		if capacity > 0 {
			state = "up"
		}
		if v.State != state || v.Capacity != capacity || v.Drift != "" || v.Refused != "" || v.Fallback != (capacity < 1 && s.fallback) || len(v.Servers) != len(s.servers) {
			return fmt.Sprintf("status: %s is %s with %d, want %s with %d; drift %q, refused %q, fallback %v", v.Service, v.State, v.Capacity, state, capacity, v.Drift, v.Refused, v.Fallback)
		}
		for h := range s.servers {
			i := slices.IndexFunc(v.Servers, func(x control.ServerStatus) bool { return x.Address == s.rip(h) })
			if i < 0 {
				return fmt.Sprintf("status: %s lacks %s", v.Service, s.rip(h))
			}
			got, word := v.Servers[i], c.words[chaosWho{s.key(), h}]
			weight, there := weights[h]
			if there && (got.WeightKernel == nil || int(*got.WeightKernel) != weight) || !there && got.WeightKernel != nil && (*got.WeightKernel != 0 || got.Active+got.Inactive == 0) {
				return fmt.Sprintf("status: of %s, %s: %+v, want weight %d (there: %v)", v.Service, got.Address, got, weight, there)
			}
			if (word.kind != "") != (got.Override != nil) || got.Override != nil && got.Override.Kind != word.kind {
				return fmt.Sprintf("status: of %s, %s: override %+v, want %v", v.Service, got.Address, got.Override, word)
			}
		}
	}
	if seen != len(c.services) {
		return fmt.Sprintf("status has %d of %d services", seen, len(c.services))
	}
	return ""
}

// chaosVIP is the address that goipvsd puts on eth0.
var chaosVIP = netip.MustParseAddr("192.0.2.20")

// vipDiffers: it is there while a service wants it.
func (c *chaos) vipDiffers() string {
	want := false
	for _, s := range c.services {
		want = want || s.onEth0
	}
	have, err := c.hasAddr(chaosVIP)
	if err != nil || have == want {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	if have && !want && c.drains() {
		return ""
	}
	return fmt.Sprintf("%s is on eth0: %v, want %v", chaosVIP, have, want)
}

// drains: the service of that address is not in the file and still there.
func (c *chaos) drains() bool {
	st, err := c.rig.status()
	return err == nil && slices.ContainsFunc(st.Services, func(s control.ServiceStatus) bool {
		return s.State == "leaving" && strings.Contains(s.Service, chaosVIP.String())
	})
}

// clients asks each service, and looks at the connections that last.
func (c *chaos) clients() {
	c.Helper()
	for _, key := range slices.Sorted(maps.Keys(c.services)) {
		s := c.services[key]
		weights, _ := s.wanted(c.up, c.words)
		maps.DeleteFunc(weights, func(_, w int) bool { return w == 0 })
		if !s.served() || len(weights) == 0 {
			continue
		}
		for range 2 {
			c.asks(s, weights)
		}
	}
	c.streams = slices.DeleteFunc(c.streams, func(s *chaosStream) bool { return !c.goesOn(s) })
	for _, key := range slices.Sorted(maps.Keys(c.services)) {
		c.stream(c.services[key])
	}
}

func (c *chaos) from() netip.AddrPort {
	c.port++
	return netip.AddrPortFrom(netip.Addr{}, c.port)
}

// asks: one client is answered, by a server that is in.
func (c *chaos) asks(s *chaosService, in map[int]int) {
	c.Helper()
	to := netip.MustParseAddrPort(s.addr)
	who := ""
	var err error
	if s.proto == "udp" {
		ctx, cancel := context.WithTimeout(context.Background(), chaosPatience)
		defer cancel()
		a, aerr := c.net.Client.Ask(ctx, "udp", c.from(), to)
		who, err = a.Server, aerr
	} else {
		var one *stream
		if one, err = openStream(c.rig, chaosPatience, c.from(), to); err == nil {
			who, err = one.server, one.end()
		}
	}
	host := 0
	_, _ = fmt.Sscanf(who, "rs%d", &host)
	if err != nil || in[host] == 0 {
		if c.flapped() {
			return
		}
		c.Errorf("%s: %q answers (%v), want one of %v\n%s", s.key(), who, err, in, c.table())
	}
}

// flapped: on a busy machine the check of a living server took too long.
func (c *chaos) flapped() bool {
	before := c.flaps
	c.readLog()
	return c.flaps > before
}

// stream sees to it that a service has streams.
func (c *chaos) stream(s *chaosService) {
	_, capacity := s.wanted(c.up, c.words)
	n := 0
	for _, x := range c.streams {
		if x.service == s.key() {
			n++
		}
	}
	if !s.streams() || capacity == 0 || n >= 3 {
		return
	}
	one, err := openStream(c.rig, chaosPatience, c.from(), netip.MustParseAddrPort(s.addr))
	if err != nil {
		if !c.flapped() {
			c.Errorf("%s: a stream: %v", s.key(), err)
		}
		return
	}
	x := &chaosStream{stream: one, service: s.key()}
	_, _ = fmt.Sscanf(one.server, "rs%d", &x.host)
	c.streams = append(c.streams, x)
}

// goesOn looks at a stream, and reports whether it is to be looked at again.
func (c *chaos) goesOn(s *chaosStream) bool {
	c.Helper()
	v := c.services[s.service]
	if v == nil || !v.streams() || c.unplug[s.host] {
		s.doomed = true
	} else if weights, _ := v.wanted(c.up, c.words); !v.drain && s.host != chaosFallback {
		if _, there := weights[s.host]; !there {
			s.doomed = true // it was taken away without a drain
		}
	}
	if s.doomed {
		_ = s.conn.SetDeadline(time.Unix(1, 0))
		_ = s.end()
		return false
	}
	select {
	case <-s.beat:
		return true
	case <-s.done:
	case <-time.After(chaosPatience):
		_ = s.conn.SetDeadline(time.Unix(1, 0))
	}
	if err := s.end(); err != nil && !c.flapped() {
		c.Errorf("the stream of %s to rs%d from %s, after %d numbers: %v", s.service, s.host, s.conn.LocalAddr(), s.count, err)
	}
	return false
}

// hasAddr tells whether the director's eth0 has an address.
func (c *chaos) hasAddr(a netip.Addr) (has bool, err error) {
	err = c.onEth0(func(link chaosLink) error {
		has, err = link.has(a)
		return err
	})
	return has, err
}

var (
	chaosTimes  = regexp.MustCompile(`time=\S+ `)
	chaosKinds  = regexp.MustCompile(`event=(\S+)(?:.* vs=(\S+))?(?:.* rs=(\S+))?`)
	chaosFlap   = regexp.MustCompile(`event=server_down .*(timeout|timed out|deadline)`)
	chaosPanics = regexp.MustCompile(`(?m)^(panic:|fatal error:|goroutine \d+ \[|WARNING: DATA RACE)|panicked`)
)

// storm is how often the same may be said of the same in one step.
const storm = 60

// readLog looks at what was said since the last time: no panic, and nothing again and
// again.
func (c *chaos) readLog() {
	c.Helper()
	text := c.family.said()
	now := text[c.logged:]
	c.logged = len(text)
	if m := chaosPanics.FindString(now); m != "" {
		c.Errorf("the log has %q", m)
	}
	counts := make(map[string]int)
	for line := range strings.Lines(now) {
		if m := chaosKinds.FindStringSubmatch(line); m != nil {
			counts[strings.Join(m[1:], " ")]++
		} else {
			counts[chaosTimes.ReplaceAllString(line, "")]++
		}
		if chaosFlap.MatchString(line) && c.wellBy(line) {
			c.flaps++
		}
	}
	for what, n := range counts {
		if n > storm && !strings.HasPrefix(what, "request") {
			c.Errorf("the log says %d times: %s", n, what)
		}
	}
}

// wellBy: the server that a line tells the death of is alive.
func (c *chaos) wellBy(line string) bool {
	for seat := range c.echoes {
		if strings.Contains(line, fmt.Sprintf("rs=10.9.0.%d:%d ", 10+seat.host, seat.port)) || strings.Contains(line, fmt.Sprintf("rs=10.9.0.%d:53 ", 10+seat.host)) {
			return c.up(seat)
		}
	}
	return false
}

// finish: nothing has leaked that a fresh start of the same file does not have either.
func (c *chaos) finish() {
	c.Helper()
	for _, s := range c.streams {
		_ = s.end()
	}
	c.streams = nil
	for _, e := range c.echoes {
		e.be(well)
	}
	for h := range c.unplug {
		c.plug(h, true)
	}
	c.family.alone()
	c.settled()
	for _, s := range c.streams {
		_ = s.end()
	}
	c.streams = nil
	old := c.family.pid
	files := []string{"clients.json", "goipvsd.lock", "state.json"}
	for _, f := range c.list("state") {
		if !slices.Contains(files, f) {
			c.Errorf("left in state_dir: %s", f)
		}
	}
	for _, f := range c.list("") {
		if !slices.Contains([]string{"goipvs.toml", "goipvsd", "log", "sock", "sock.lock", "state"}, f) {
			c.Errorf("left beside the control socket: %s", f)
		}
	}
	if kids, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", old)); len(kids) > 0 {
		for _, k := range kids {
			if b, _ := os.ReadFile(k); len(bytes.TrimSpace(b)) > 0 {
				c.Errorf("goipvsd has children: %s", b)
			}
		}
	}
	c.family.await("sessions of UDP are over", func() bool {
		var list struct{ Connections []struct{ Protocol string } }
		err := c.request("fullnat_connections", &list)
		return err == nil && !slices.ContainsFunc(list.Connections, func(x struct{ Protocol string }) bool { return x.Protocol == "udp" })
	})
	was := c.footprint()
	c.family.quit()
	goroutines := strings.Count(c.family.said()[c.logged:], "\ngoroutine ")
	c.logged = len(c.family.said())
	c.family.start()
	c.settled()
	for _, s := range c.streams {
		_ = s.end()
	}
	fresh := c.footprint()
	c.family.quit()
	again := strings.Count(c.family.said()[c.logged:], "\ngoroutine ")
	c.logged = len(c.family.said())
	if was.files > fresh.files+8 || goroutines > again+12 || was.memory > fresh.memory+32<<10 {
		c.Errorf("in the end %+v and %d goroutines; a fresh start has %+v and %d", was, goroutines, fresh, again)
	}
	c.Logf("in the end %+v, %d goroutines; a fresh start %+v, %d", was, goroutines, fresh, again)
}

func (c *chaos) list(dir string) (names []string) {
	entries, err := os.ReadDir(c.path(dir))
	c.must(err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// footprint is what a process has: descriptors, and memory in KiB.
type footprint struct{ files, memory int }

func (c *chaos) footprint() (f footprint) {
	f.files = descriptors(c.family.pid)
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.family.pid))
	if _, text, ok := strings.Cut(string(b), "VmRSS:"); ok {
		_, _ = fmt.Sscan(text, &f.memory)
	}
	return f
}
