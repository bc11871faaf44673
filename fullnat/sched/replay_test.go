package sched

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
)

// recordings have what a real kernel chose; testdata/schedulers/README.md tells
// what is in them.
var recordings = []string{"../../testdata/schedulers/cases.jsonl", "../../testdata/schedulers/twin.jsonl", "../../testdata/schedulers/packets.jsonl"}

// scenario is a line of the recordings.
type scenario struct {
	Name       string
	Scheduler  string
	Flags      []string
	Family     string
	Protocol   string
	Service    string
	Persistent int
	Netmask    *int
	OnePacket  bool `json:"one_packet"`
	Sysctl     map[string]int
	Steps      []step
}

// step is an array of which the first element says what the others are.
type step []json.RawMessage

// TestSchedulerReplay wants the choices and counters that the kernel had. With
// CASES=FILE it replays that file and says how many agree.
func TestSchedulerReplay(t *testing.T) {
	names := recordings
	if name := os.Getenv("CASES"); name != "" {
		names = []string{given(name)}
	}
	var cases []scenario
	for _, name := range names {
		cases = append(cases, readScenarios(t, name)...)
	}
	scenarios, choices, agree := 0, 0, 0
	for _, c := range cases {
		r := replay(c)
		choices += r.choices
		agree += r.agree
		if len(r.faults) == 0 {
			scenarios++
			continue
		}
		t.Errorf("%s: %d of %d choices agree\n%s", c.Name, r.agree, r.choices, strings.Join(r.faults[:min(3, len(r.faults))], "\n"))
	}
	say(t, fmt.Sprintf("%d of %d scenarios, %d of %d choices agree", scenarios, len(cases), agree, choices))
}

// given is the path of a file named by somebody who started go test elsewhere: the
// go command runs a test in its package's directory.
func given(name string) string {
	started, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", os.Getppid()))
	for _, dir := range []string{started, "../.."} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil && !filepath.IsAbs(name) {
			return path
		}
	}
	return name
}

func readScenarios(t *testing.T, name string) (cases []scenario) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatalf("no recordings: %v (CASES names a file, by its full path or as seen from where go test was started)", err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var c scenario
		switch err := d.Decode(&c); {
		case err == nil:
			cases = append(cases, c)
		case !errors.Is(err, io.EOF):
			t.Fatalf("%s: scenario %d: %v", name, len(cases)+1, err)
		case len(cases) == 0:
			t.Fatalf("%s: no scenarios", name)
		default:
			return cases
		}
	}
}

// say reports a result that whoever asked for with CASES wants to see. The go
// command shows nothing of a package that passes, so the line goes to the go
// command's own output where that can be had.
func say(t *testing.T, line string) {
	t.Log(line)
	if testing.Verbose() || t.Failed() || os.Getenv("CASES") == "" {
		return
	}
	if f, err := outputOf(os.Getppid()); err == nil {
		defer f.Close()
		fmt.Fprintln(f, line)
	}
}

// outputOf is the standard output of another process: the same open file, so that
// what both write to a plain file comes one after the other; or else, where the
// system does not allow that, the pipe or terminal opened once more.
func outputOf(pid int) (*os.File, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(process)
		var fd int
		if fd, err = unix.PidfdGetfd(process, 1, 0); err == nil {
			return os.NewFile(uintptr(fd), "stdout"), nil
		}
	}
	path := fmt.Sprintf("/proc/%d/fd/1", pid)
	st, err := os.Stat(path)
	if err != nil || st.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0 {
		return nil, errors.ErrUnsupported
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// player is one scenario being replayed.
type player struct {
	*Service
	now      time.Duration
	virtual  netip.AddrPort
	protocol ipvs.Protocol
	addrs    map[string]netip.AddrPort
	names    map[netip.AddrPort]string
	conns    []*Conn
	to       []target // of conns
	choices  int
	agree    int
	faults   []string
}

// target is what a connection was opened to, where the scenario's service does
// not say: the virtual address and the protocol.
type target struct{ virtual, protocol string }

func replay(c scenario) *player {
	p, err := c.player()
	if err != nil {
		return &player{faults: []string{err.Error()}}
	}
	for i, s := range c.Steps {
		if err := p.step(s); err != nil {
			p.faults = append(p.faults, fmt.Sprintf("step %d %s: %v", i, s.text(), err))
		}
	}
	return p
}

func (s step) text() string {
	b, _ := json.Marshal(s) // it came from JSON
	return string(b[:min(len(b), 100)])
}

func (s step) lines() (lines []string) {
	for _, raw := range s {
		b, _ := json.Marshal(raw) // without spaces
		lines = append(lines, string(b))
	}
	return lines
}

func (c scenario) player() (*player, error) {
	config, err := c.service()
	if err != nil {
		return nil, err
	}
	settings := c.settings()
	p := &player{virtual: config.Addr, addrs: map[string]netip.AddrPort{}, names: map[netip.AddrPort]string{}}
	if err := p.protocol.UnmarshalText([]byte(c.Protocol)); err != nil {
		return nil, err
	}
	p.Service, err = New(0, config, &settings)
	return p, err
}

// settings are those that choices depend on; that another one does would show.
func (c scenario) settings() Settings {
	return Settings{
		ExpireQuiescentTemplate: c.Sysctl["expire_quiescent_template"] != 0,
		LBLCExpiration:          time.Duration(c.Sysctl["lblc_expiration"]) * time.Second,
		LBLCRExpiration:         time.Duration(c.Sysctl["lblcr_expiration"]) * time.Second,
	}
}

func (c scenario) service() (config ipvs.Service, err error) {
	var family ipvs.Family
	var protocol ipvs.Protocol
	if err := family.UnmarshalText([]byte(c.Family)); err != nil {
		return config, err
	}
	if err := protocol.UnmarshalText([]byte(c.Protocol)); err != nil {
		return config, err
	}
	var mark uint32
	if _, err := fmt.Sscanf(c.Service, "fwmark:%d", &mark); err == nil {
		config.ServiceKey = ipvs.MarkService(mark, family)
	} else {
		addr, err := netip.ParseAddrPort(c.Service)
		if err != nil {
			return config, err
		}
		config.ServiceKey = ipvs.AddrService(protocol, addr)
	}
	config.Scheduler = c.Scheduler
	if config.Flags, err = flags(c.Flags); err != nil {
		return config, err
	}
	if c.OnePacket {
		config.Flags |= ipvs.OnePacket
	}
	if c.Persistent != 0 {
		config.Flags |= ipvs.Persistent
		config.Timeout = time.Duration(c.Persistent) * time.Second
		if c.Netmask != nil {
			config.Netmask, err = ipvs.PrefixMask(family, *c.Netmask)
		}
	}
	return config, err
}

func flags(words []string) (f ipvs.Flags, err error) {
	for _, w := range words {
		switch w {
		case "sh-fallback", "mh-fallback":
			f |= ipvs.Sched1
		case "sh-port", "mh-port":
			f |= ipvs.Sched2
		default:
			return 0, fmt.Errorf("unknown flag %q", w)
		}
	}
	return f, nil
}

// decode reads elements of the step into variables; those that the step does
// not have keep their values.
func (s step) decode(into ...any) error {
	for i, v := range into {
		if i+1 < len(s) && v != nil {
			if err := json.Unmarshal(s[i+1], v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *player) step(s step) error {
	var kind string
	if len(s) < 2 {
		return fmt.Errorf("too short")
	}
	if err := json.Unmarshal(s[0], &kind); err != nil {
		return err
	}
	run, ok := steps[kind]
	if !ok {
		return fmt.Errorf("unknown step")
	}
	return run(p, s, kind)
}

var steps = map[string]func(p *player, s step, kind string) error{
	"add":       (*player).server,
	"edit":      (*player).server,
	"del":       (*player).server,
	"sched":     (*player).edit,
	"open":      (*player).open,
	"syn":       (*player).open,
	"reopen":    (*player).reopen,
	"again":     (*player).again,
	"halfclose": (*player).change,
	"close":     (*player).change,
	"reset":     (*player).change,
	"expire":    (*player).expire,
	"gone":      (*player).expire,
	"wait":      (*player).wait,
	"state":     (*player).state,
}

func (p *player) server(s step, kind string) error {
	var name, text string
	var d ipvs.Destination
	args := []any{&name, &text, &d.Weight, &d.Upper, &d.Lower}
	if kind == "edit" {
		args = slices.Delete(args, 1, 2)
	}
	if err := s.decode(args...); err != nil {
		return err
	}
	if text != "" {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			return err
		}
		p.addrs[name], p.names[addr] = addr, name
	}
	d.Addr = p.addrs[name]
	switch kind {
	case "add":
		return p.AddServer(p.now, d)
	case "edit":
		return p.UpdateServer(p.now, d)
	}
	return p.DeleteServer(p.now, d.Addr)
}

func (p *player) edit(s step, _ string) error {
	var words []string
	c := p.Config()
	if err := s.decode(&c.Scheduler, &words); err != nil {
		return err
	}
	f, err := flags(words)
	if err != nil {
		return err
	}
	c.Flags = c.Flags&^ipvs.SchedFlags | f
	return p.Update(p.now, c)
}

// open is a new connection: the choice, and the packets that follow.
func (p *player) open(s step, kind string) error {
	var from string
	var want *string
	var to target
	if err := s.decode(&from, &want, &to.virtual, &to.protocol); err != nil {
		return err
	}
	return p.connect(from, to, want, kind == "open")
}

// reopen is a new connection in the place of another, whose entry the kernel
// still counts when it chooses.
func (p *player) reopen(s step, _ string) error {
	var from string
	var want *string
	var n int
	if err := s.decode(&from, &want, &n); err != nil {
		return err
	}
	old, err := p.conn(n)
	if err != nil {
		return err
	}
	err = p.connect(from, p.to[n], want, true) // the same client, and so the same target
	p.End(p.now, old)
	return err
}

func (p *player) connect(from string, to target, want *string, established bool) error {
	conn := &Conn{}
	p.conns, p.to = append(p.conns, conn), append(p.to, to)
	client, err := netip.ParseAddrPort(from)
	if err != nil {
		return err
	}
	virtual, proto := p.virtual, p.protocol
	if to.virtual != "" {
		if virtual, err = netip.ParseAddrPort(to.virtual); err != nil {
			return err
		}
	}
	if to.protocol != "" {
		if err := proto.UnmarshalText([]byte(to.protocol)); err != nil {
			return err
		}
	}
	choice, ok := p.Choose(p.now, client, virtual)
	if ok {
		p.Bind(p.now, conn, choice, proto)
		p.SetState(conn, map[bool]State{false: SynRecv, true: Established}[established])
	}
	err = p.compare(want, choice.Server)
	if ok && p.OnePacket(proto) {
		p.End(p.now, conn)
	}
	return err
}

func (p *player) compare(want *string, got *Server) error {
	p.choices++
	text := func(name *string) string {
		if name == nil {
			return "nobody"
		}
		return *name
	}
	var name *string
	if got != nil {
		n := p.names[got.Destination().Addr]
		name = &n
	}
	if text(want) != text(name) {
		return fmt.Errorf("got %s", text(name))
	}
	p.agree++
	return nil
}

// again is a datagram of a flow that is known; it is no choice.
func (p *player) again(s step, _ string) error {
	var n int
	var want *string
	if err := s.decode(&n, &want); err != nil {
		return err
	}
	conn, err := p.conn(n)
	if err != nil {
		return err
	}
	var got *string
	if d := conn.Server(); d != nil && d.InService() {
		name := p.names[d.Destination().Addr]
		got = &name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("-want +got\n%s", diff)
	}
	return nil
}

func (p *player) conn(n int) (*Conn, error) {
	if n < 0 || n >= len(p.conns) {
		return nil, fmt.Errorf("no connection %d", n)
	}
	return p.conns[n], nil
}

func (p *player) change(s step, kind string) error {
	var n int
	if err := s.decode(&n); err != nil {
		return err
	}
	conn, err := p.conn(n)
	if err != nil {
		return err
	}
	p.SetState(conn, map[string]State{"halfclose": FinWait, "close": TimeWait, "reset": Close}[kind])
	return nil
}

// expire ends connections; the recorder needed 1.3 s for those of "expire".
func (p *player) expire(s step, kind string) error {
	var list []int
	if err := s.decode(&list); err != nil {
		return err
	}
	for _, n := range list {
		conn, err := p.conn(n)
		if err != nil {
			return err
		}
		p.End(p.now, conn)
	}
	if kind == "expire" {
		p.now += 1300 * time.Millisecond
	}
	return nil
}

func (p *player) wait(s step, _ string) error {
	var seconds float64
	if err := s.decode(&seconds); err != nil {
		return err
	}
	p.now += time.Duration(seconds * float64(time.Second))
	return nil
}

// state compares the kernel's table, in its order.
func (p *player) state(s step, _ string) error {
	var rows, ours []json.RawMessage
	if err := s.decode(&rows); err != nil {
		return err
	}
	p.Advance(p.now)
	for _, d := range p.Servers(nil) {
		i := d.Info()
		row, err := json.Marshal([]any{p.names[i.Addr], i.Weight, i.Active, i.Inactive, i.Persistent})
		if err != nil {
			return err
		}
		ours = append(ours, row)
	}
	want, got := step(rows).lines(), step(ours).lines()
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("-want +got\n%s", diff)
	}
	return nil
}
