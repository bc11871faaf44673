package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/bench"
)

// sample is one load through one proxy.
type sample struct {
	cpu    float64 // nanoseconds of the proxy for a unit
	rate   float64 // units a second
	p50    float64 // nanoseconds
	p99    float64
	errors float64
}

// measure takes load by load. A load has a client for each proxy, and the
// proxies take turns in slices that are short beside the changes of what else
// the machine does.
func (c *contest) measure() error {
	samples := map[string][]sample{} // by load and proxy
	for _, l := range c.loads {
		if err := c.measureLoad(l, samples); err != nil {
			return err
		}
	}
	c.report(samples)
	return nil
}

func (c *contest) measureLoad(l load, samples map[string][]sample) error {
	clients := map[*proxy]*dialogue{}
	defer func() {
		for _, d := range clients {
			d.end()
		}
	}()
	rounds := c.rounds
	if l.name == "idle" {
		rounds = 1
	}
	if l.rate > 0 {
		for _, cmd := range c.servers {
			if err := prefer(cmd, true); err != nil {
				return err
			}
			defer func() { _ = prefer(cmd, false) }()
		}
	}
	for round := range rounds {
		for _, i := range rand.Perm(len(c.proxies)) { // nobody is always first, or after the same other one
			p := c.proxies[i]
			if l.datagrams() && !p.udp || l.name == "idle" && c.whole() {
				continue
			}
			s, err := c.turn(l, p, clients)
			if err != nil {
				return fmt.Errorf("%s through %s: %w", l.name, p.name, err)
			}
			samples[l.name+" "+p.name] = append(samples[l.name+" "+p.name], s)
			fmt.Fprintf(os.Stderr, "round %d %-10s %-18s %9.1f µs  %9.0f /s  p50 %7.2f p99 %7.2f ms  errors %.0f\n", round, l.name, p.name, s.cpu/1e3, s.rate, s.p50/1e6, s.p99/1e6, s.errors)
		}
	}
	return nil
}

// turn is a proxy's slice of a load, made by its client, which is started where
// there is none.
func (c *contest) turn(l load, p *proxy, clients map[*proxy]*dialogue) (s sample, err error) {
	if clients[p] == nil {
		d, err := c.talk(p, l, c.length)
		if err != nil {
			return s, err
		}
		clients[p] = d
	}
	s, err = c.sample(l, p, clients[p])
	if l.kind == "bulk" { // a stream that has had a pause is slow for a while (BBR)
		clients[p].end()
		delete(clients, p)
	}
	return s, err
}

func (c *contest) sample(l load, p *proxy, d *dialogue) (sample, error) {
	if l.name == "idle" { // bytes of the proxy for a connection that has had a request and waits
		return sample{cpu: max(memoryOf(p.cmd)-p.size, 0) / float64(l.count), errors: d.warm.Errors}, nil
	}
	before := 0.0
	r, err := d.slice(func() { before = c.cpu(p, d) })
	used := c.cpu(p, d) - before
	return sample{used / max(r.Units, 1), r.Units / c.length.Seconds(), float64(r.P50), float64(r.P99), r.Errors}, err
}

// whole tells whether more than the proxies' CPU is compared, as a kernel's plane
// has no process.
func (c *contest) whole() bool { return c.kernel || c.nft }

// cpu is what is compared of a proxy, so far, in nanoseconds.
func (c *contest) cpu(p *proxy, d *dialogue) (sum float64) {
	if c.kernel {
		return machineCPU()
	}
	if c.nft { // what the kernel does for packets is done in the name of who sends, or by ksoftirqd
		for _, cmd := range append([]*exec.Cmd{d.cmd}, c.servers...) {
			sum += cpuOf(cmd.Process.Pid)
		}
		sum += softirqCPU()
	}
	if p.cmd != nil {
		sum += cpuOf(p.cmd.Process.Pid)
	}
	return sum
}

// memoryOf is that of a proxy's processes, in bytes.
func memoryOf(proxy *exec.Cmd) float64 {
	return bench.Memory(proxy.Process.Pid, "smaps_rollup", "Pss") * (1 << 20)
}

// dialogue is with a client, which makes one slice of its load when it is told
// to.
type dialogue struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	warm result
}

// talk starts a client, which is warm then.
func (c *contest) talk(p *proxy, l load, length time.Duration) (*dialogue, error) {
	to := netip.AddrPortFrom(p.to.Addr(), p.to.Port()+uint16(l.port))
	cmd := selfCommand("client", l.kind, strconv.Itoa(l.count), strconv.Itoa(l.window), to.String(), length.String(), strconv.Itoa(l.rate), strconv.Itoa(c.clients))
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := startBound(p.net.Client, cmd); err != nil {
		return nil, err
	}
	d := &dialogue{cmd: cmd, in: in, out: json.NewDecoder(out)}
	err := d.out.Decode(&d.warm)
	if err == nil && l.rate > 0 {
		err = prefer(cmd, true)
	}
	if err != nil {
		d.end()
		return nil, err
	}
	return d, nil
}

// prefer has the threads of a process run before all others, or no longer. At a
// fixed rate clients and servers do, as they are other machines in practice:
// what they would wait for the proxy's CPU is not the proxy's latency, and is
// most of what is measured otherwise.
func prefer(cmd *exec.Cmd, yes bool) error {
	how := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	if yes {
		how.Policy, how.Priority = unix.SCHED_RR, 1
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", cmd.Process.Pid))
	for _, task := range tasks {
		id, _ := strconv.Atoi(filepath.Base(task))
		if e := unix.SchedSetAttr(id, &how, 0); e != nil && e != unix.ESRCH {
			err = errors.Join(err, fmt.Errorf("set priority: %w", e))
		}
	}
	return err
}

// slice has the client make a slice, and calls begin when it begins.
func (d *dialogue) slice(begin func()) (r result, err error) {
	if _, err = d.in.Write([]byte{'\n'}); err != nil {
		return r, err
	}
	if err = d.out.Decode(&r); err != nil {
		return r, err
	}
	begin()
	err = d.out.Decode(&r)
	return r, err
}

func (d *dialogue) end() {
	d.in.Close()
	_ = d.cmd.Wait()
}

// cpuOf is what all threads of a process and its children have run, in
// nanoseconds, on a CPU and in the kernel (schedstat).
func cpuOf(pid int) (sum float64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range tasks {
		text, _ := os.ReadFile(f)
		ran, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseFloat(ran, 64)
		sum += n
		children, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "children"))
		for child := range strings.FieldsSeq(string(children)) {
			n, _ := strconv.Atoi(child)
			sum += cpuOf(n)
		}
	}
	return sum
}

// report prints medians, and the medians of the ratios within the rounds.
func (c *contest) report(samples map[string][]sample) {
	subject := "goipvs"
	if c.whole() {
		subject = c.proxies[slices.IndexFunc(c.proxies, func(p *proxy) bool { return p.begin != nil })].name
	}
	fmt.Printf("| load | proxy | CPU per unit | units/s | p50, p99 ms | CPU of %[1]s to it: median [least to most] | p99 of %[1]s to it: median [least to most] |\n|---|---|---|---|---|---|---|\n", subject)
	for _, l := range c.loads {
		ours := samples[l.name+" "+subject]
		for _, p := range c.proxies {
			s := samples[l.name+" "+p.name]
			if len(s) == 0 {
				continue
			}
			pick := func(f func(sample) float64) float64 {
				var v []float64
				for _, x := range s {
					v = append(v, f(x))
				}
				return median(v)
			}
			var cpu, p99 []float64
			for i := range s {
				cpu, p99 = append(cpu, ours[i].cpu/s[i].cpu), append(p99, ours[i].p99/max(s[i].p99, 1))
			}
			if l.name == "idle" {
				fmt.Printf("| idle (%d connections) | %s | %.0f bytes of memory | | | %.3f | |\n", l.count, p.name, s[0].cpu, ours[0].cpu/s[0].cpu)
				continue
			}
			fmt.Printf("| %s (%s) | %s | %.1f µs | %.0f | %.2f, %.2f | %.2f [%.2f to %.2f] | %.2f [%.2f to %.2f] |\n", l.name, l.unit, p.name,
				pick(func(x sample) float64 { return x.cpu })/1e3, pick(func(x sample) float64 { return x.rate }), pick(func(x sample) float64 { return x.p50 })/1e6, pick(func(x sample) float64 { return x.p99 })/1e6,
				median(cpu), slices.Min(cpu), slices.Max(cpu), median(p99), slices.Min(p99), slices.Max(p99))
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}
