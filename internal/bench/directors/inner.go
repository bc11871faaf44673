package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/bench"
	"github.com/goipvs/goipvs/ipvs"
)

// inner is the half in the kernel: it measures one director.
type inner struct {
	contestant
	load    load
	root    string
	goipvsd string
	o       options
	client  *ipvs.Client
	cmd     *exec.Cmd
	ended   chan struct{}
	words   io.Writer // to the real servers
	answers *bufio.Scanner
}

// poll is how often the table is looked at; measured times are up to that, and
// what the look takes, too long.
const poll = 10 * time.Millisecond

func runInside(name, root string, o options) error {
	i := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("no director %q", name)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	b := &inner{contestant: contestants[i], load: load{o.servers, dir}, root: root, goipvsd: o.goipvsd, o: o}
	if b.client, err = ipvs.Dial(ipvs.Options{}); err != nil {
		return err
	}
	if err := network(); err != nil {
		return err
	}
	if name == "ldirectord" {
		if err := placeIpvsadm(root); err != nil {
			return err
		}
	}
	if err := b.startServers(); err != nil {
		return err
	}
	// what the servers cost, and that of watching, is the same for all
	for _, step := range []struct {
		name string
		f    func() error
	}{{"idle", b.idle}, {"start", b.start}, {"steady", b.steady}, {"reloads", b.reloads}, {"deaths", b.deaths}, {"drift", b.drift}, {"again", b.again}} {
		if o.steps != "" && !slices.Contains(strings.Split(o.steps, ","), step.name) {
			continue
		}
		if err := step.f(); errors.Is(err, errPatience) {
			fmt.Fprintf(os.Stderr, "%s: %v; its last words:\n%s\n", name, err, b.lastWords())
		} else if err != nil {
			return err
		}
	}
	return b.stop()
}

// network makes all of 10.9.0.0/16 this machine's, and what is sent to
// 10.8.0.0/16 vanish.
func network() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	local := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipnet("10.9.0.0/16"), Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Table: unix.RT_TABLE_LOCAL}
	if err := netlink.RouteAdd(local); err != nil {
		return fmt.Errorf("local route: %w", err)
	}
	nowhere := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "nowhere", Flags: net.FlagUp}}
	if err := netlink.LinkAdd(nowhere); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(nowhere); err != nil {
		return err
	}
	if err := netlink.AddrAdd(nowhere, &netlink.Addr{IPNet: ipnet("10.8.255.254/16")}); err != nil {
		return err
	}
	return nil
}

func ipnet(s string) *net.IPNet {
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err) // it is ours
	}
	n.IP = ip
	return n
}

func (b *inner) startServers() error {
	cmd := exec.Command("/proc/self/exe", "-serve", "-servers", strconv.Itoa(b.load.servers))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if b.words, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.answers = bufio.NewScanner(out)
	return b.answer()
}

func (b *inner) answer() error {
	if !b.answers.Scan() {
		return errors.New("the real servers ended")
	}
	return nil
}

// tell has a real server close or open.
func (b *inner) tell(word string, i int) error {
	fmt.Fprintln(b.words, word, mortalPort+i)
	return b.answer()
}

// say hands a figure to the outer half.
func say(name string, values ...float64) {
	line, err := json.Marshal(figure{name, values})
	if err != nil {
		panic(err) // numbers
	}
	fmt.Println(string(line))
}

// mark tells the outer half that something begins or has ended whose cost it is
// to measure: what the kernel's processes cost the machine.
func mark(word, name string) { say(word+" "+name, 0) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var errPatience = errors.New("not within the time")

// await looks at the table until something is so, and returns how long that took
// since then.
func (b *inner) await(what string, since time.Time, limit time.Duration, f func(table) bool) (time.Duration, error) {
	for {
		t, err := readTable()
		if err != nil {
			return 0, err
		}
		passed := time.Since(since)
		if f(t) {
			return passed, nil
		}
		select {
		case <-b.ended:
			return 0, fmt.Errorf("%s ended: %v", b.name, b.cmd.ProcessState)
		case <-time.After(poll):
		}
		if passed > limit {
			return 0, fmt.Errorf("%w of %v: %s (%d services, %d servers in)", errPatience, limit, what, len(t), t.in())
		}
	}
}

func (b *inner) file(more bool) (string, error) {
	path := filepath.Join(b.load.dir, "config")
	return path, os.WriteFile(path, []byte(b.config(b.load, more)), 0o600)
}

// lastWords are the end of what the director has written.
func (b *inner) lastWords() string {
	all, err := os.ReadFile(filepath.Join(b.load.dir, "output"))
	if err != nil {
		return err.Error()
	}
	return string(all[max(0, len(all)-1000):])
}

// idle measures what the kernel costs without a director.
func (b *inner) idle() error {
	const length = 5 * time.Second
	mark("begin", "idle: CPU of the kernel on the machine, s in 5s")
	time.Sleep(length)
	mark("end", "idle: CPU of the kernel on the machine, s in 5s")
	return nil
}

// start measures a first start: after boot, with the program and the scheduler's
// module still to be read.
func (b *inner) start() error { return b.launch("start") }

// again measures a start of a program that ran before, into a table as empty as
// it was at first.
func (b *inner) again() error {
	if err := b.stop(); err != nil {
		return err
	}
	if err := b.client.Flush(); err != nil {
		return err
	}
	return b.launch("started again")
}

// launch measures from the start of the program until the services, and until all
// servers that answer, are in the kernel.
func (b *inner) launch(name string) error {
	path, err := b.file(false)
	if err != nil {
		return err
	}
	b.cmd = b.command(b, path)
	log, err := os.Create(filepath.Join(b.load.dir, "output"))
	if err != nil {
		return err
	}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	mark("begin", name+": CPU of the kernel on the machine, s")
	began := time.Now()
	if err := b.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := b.cmd, make(chan struct{})
	b.ended = ended
	go func() {
		_ = cmd.Wait() // its state says how it went
		close(ended)
	}()
	services := b.load.servers / perService
	took, err := b.await("the services", began, b.o.patience, func(t table) bool { return len(t) >= services })
	if err != nil {
		return err
	}
	say(name+": services in the kernel, ms", ms(took))
	alive := b.load.servers - b.load.servers/perService
	if took, err = b.await("the servers", began, b.o.patience, func(t table) bool { return t.in() >= alive }); err != nil {
		return err
	}
	mark("end", name+": CPU of the kernel on the machine, s")
	say(name+": servers that answer in, ms", ms(took))
	_, err = b.await("holes out", began, b.o.patience, func(t table) bool { return t.in() == alive })
	return err
}

// steady measures what a time costs in which nothing happens.
func (b *inner) steady() error {
	time.Sleep(5 * time.Second)
	pid := b.cmd.Process.Pid
	name := fmt.Sprintf("steady: CPU of the kernel on the machine, s in %v", b.o.steady)
	mark("begin", name)
	began, before := time.Now(), bench.CPU(bench.Tree(pid)...)
	time.Sleep(b.o.steady)
	used, passed := bench.CPU(bench.Tree(pid)...)-before, time.Since(began)
	mark("end", name)
	say("steady: CPU of the director by the kernel's own account, %", 100*used.Seconds()/passed.Seconds())
	say("resident memory, MiB", bench.Memory(pid, "status", "VmRSS"))
	say("of that anonymous, MiB", bench.Memory(pid, "status", "RssAnon"))
	say("proportional memory (PSS), MiB", bench.Memory(pid, "smaps_rollup", "Pss"))
	return nil
}

// reloads measures from SIGHUP until a new service and its server are there.
func (b *inner) reloads() error {
	for range 5 {
		for _, more := range []bool{true, false} {
			if _, err := b.file(more); err != nil {
				return err
			}
			time.Sleep(time.Second)
			began := time.Now()
			if err := b.cmd.Process.Signal(unix.SIGHUP); err != nil {
				return err
			}
			took, err := b.await("a reload", began, b.o.patience, func(t table) bool {
				servers, there := t[extra]
				if !more {
					return !there
				}
				for _, weight := range servers {
					return weight > 0
				}
				return false
			})
			if err != nil {
				return err
			}
			if more {
				say("reload: new service and its server in, ms", ms(took))
			} else {
				say("reload: service gone, ms", ms(took))
			}
		}
	}
	return nil
}

// deaths measures until servers that die are out, and in when they are back,
// while a tenth of all is silent.
func (b *inner) deaths() error {
	all := min(10, b.load.servers/perService)
	for _, act := range []struct {
		word, figure string
		in           bool
	}{{"close", "death of a server: out, ms", false}, {"open", "return of a server: in, ms", true}} {
		at := make(map[int]time.Time)
		first := time.Now()
		told, done := 0, 0
		for done < all {
			if told < all && time.Since(first) > time.Duration(told)*290*time.Millisecond {
				i := told*perService + perService/2
				at[i] = time.Now()
				if err := b.tell(act.word, i); err != nil {
					return err
				}
				told++
			}
			t, err := readTable()
			if err != nil {
				return err
			}
			for i, since := range at {
				if t.weight(vport(i/perService), addr(i)) > 0 == act.in {
					say(act.figure, ms(time.Since(since)))
					delete(at, i)
					done++
				}
			}
			if time.Since(first) > b.o.patience {
				return fmt.Errorf("%w: %s", errPatience, act.figure)
			}
			time.Sleep(poll)
		}
	}
	return nil
}

// drift measures until what somebody else did to the table is undone.
func (b *inner) drift() error {
	key := ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, uint16(vport(0))))
	dest := ipvs.Destination{Addr: addr(0), Weight: 1}
	heavy := dest
	heavy.Weight = 7
	for _, c := range []ipvs.Change{
		{Op: ipvs.DeleteDestination, Service: ipvs.Service{ServiceKey: key}, Destination: dest},
		{Op: ipvs.UpdateDestination, Service: ipvs.Service{ServiceKey: key}, Destination: heavy},
		{Op: ipvs.DeleteService, Service: ipvs.Service{ServiceKey: key}},
	} {
		began := time.Now()
		if err := b.client.Apply(slices.Values([]ipvs.Change{c})); err != nil {
			return err
		}
		took, err := b.await("drift: "+c.String(), began, 10*time.Second, func(t table) bool { return t.weight(vport(0), addr(0)) == 1 })
		if err != nil {
			return err
		}
		say("drift repaired, ms", ms(took))
	}
	return nil
}

// stop measures until the program has ended by SIGTERM.
func (b *inner) stop() error {
	began := time.Now()
	if err := b.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.ended:
	case <-time.After(cmp.Or(b.o.patience, time.Minute)):
		return fmt.Errorf("%w: end after SIGTERM", errPatience)
	}
	say("stop: ended, ms", ms(time.Since(began)))
	return nil
}
