// Checks measures what checks cost: `make bench-checks`.
//
// It runs a healthcheck.Runner against real servers on loopback, one address of
// 127.0.0.0/8 for each, that another process serves, and prints a row of
// docs/performance.md for each number of servers.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/internal/bench"
	"golang.org/x/sys/unix"
)

type options struct {
	interval, length time.Duration
	counts           string
	kind             string
	holes            float64
	daemon           string
}

func main() {
	var o options
	flag.DurationVar(&o.interval, "interval", 5*time.Second, "interval of the checks")
	flag.DurationVar(&o.length, "for", 30*time.Second, "how long to measure, after one interval")
	flag.StringVar(&o.counts, "servers", "100,1000,10000", "numbers of servers")
	flag.StringVar(&o.kind, "type", "connect", "type of check: connect or http")
	flag.Float64Var(&o.holes, "black-holes", 0, "share of servers that never answer")
	flag.StringVar(&o.daemon, "daemon", "", "measure this goipvsd as a whole")
	serve := flag.Bool("serve", false, "be the servers")
	count := flag.Int("count", 0, "measure one number of servers, in this process")
	port := flag.String("port", "", "of the servers")
	flag.Parse()
	var err error
	switch {
	case *serve:
		err = serveAll()
	case *count > 0:
		err = measure(o, *count, *port)
	default:
		err = all(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-checks:", err)
		os.Exit(1)
	}
}

// all measures each number in a process of its own, so that memory is told apart.
func all(o options) error {
	servers := exec.Command("/proc/self/exe", "-serve")
	servers.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := servers.StdoutPipe()
	if err != nil {
		return err
	}
	if err := servers.Start(); err != nil {
		return err
	}
	defer func() {
		servers.Process.Kill()
		servers.Wait()
	}()
	var port int
	if _, err := fmt.Fscan(out, &port); err != nil {
		return err
	}
	if o.daemon != "" {
		return bench.Run(func(dir string) error { return allOfDaemon(o, dir, strconv.Itoa(port)) })
	}
	fmt.Println("| servers | checks/s | CPU of one core | CPU per check | lag p99 | lag max | late | at once | resident |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for n := range strings.SplitSeq(o.counts, ",") {
		cmd := exec.Command("/proc/self/exe", "-count", n, "-port", strconv.Itoa(port), "-interval", o.interval.String(),
			"-for", o.length.String(), "-type", o.kind, "-black-holes", fmt.Sprint(o.holes))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}

func allOfDaemon(o options, dir, port string) error {
	fmt.Println("| servers | all in after | checks/s | CPU of one core | CPU per check | lag p99 | late | resident |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for text := range strings.SplitSeq(o.counts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-servers: %w", err)
		}
		if err := daemonBench(o, filepath.Join(dir, text), n, port); err != nil {
			return fmt.Errorf("%d servers: %w", n, err)
		}
	}
	return nil
}

// serveAll answers on every address of 127.0.0.0/8, until it is killed.
func serveAll() error {
	// they stand for other machines, which have processors of their own
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -10); err != nil {
		fmt.Fprintln(os.Stderr, "bench-checks: the servers may be slow:", err)
	}
	port, failed := 0, make(chan error)
	for range queues {
		l, err := listen(port)
		if err != nil {
			return err
		}
		port = l.Addr().(*net.TCPAddr).Port
		go func() { failed <- accept(l) }()
	}
	fmt.Println(port)
	return <-failed
}

// queues of connections to be accepted: a process that gets no processor for a
// second must not look like servers that do not answer.
const queues = 8

func listen(port int) (net.Listener, error) {
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
			return e
		}
		return err
	}}
	return shared.Listen(context.Background(), "tcp4", fmt.Sprintf("0.0.0.0:%d", port))
}

func accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if n, _ := c.Read(make([]byte, 1024)); n > 0 {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
			}
		}()
	}
}

func measure(o options, n int, port string) error {
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(100 << 20) // as a daemon's is by its unit
	hole, err := blackHole()
	if err != nil {
		return err
	}
	r := healthcheck.NewRunner(healthcheck.Options{})
	if err := r.Replace(subjects(o, n, uint16(p), hole)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		r.Run(ctx)
		close(done)
	}()
	time.Sleep(o.interval)
	before, cpu := r.Stats(), cpuTime()
	busiest := watch(r, o.length)
	after, cpu2 := r.Stats(), cpuTime()
	resident := bench.Memory(os.Getpid(), "status", "VmRSS")
	cancel()
	<-done
	lag := after.Lag
	for i := range lag.Counts {
		lag.Counts[i] -= before.Lag.Counts[i]
	}
	if err := allRight(r, n-int(float64(n)*o.holes)); err != nil {
		return err
	}
	checks := after.Checks - before.Checks
	fmt.Printf("| %d | %.0f | %.1f %% | %.0f µs | %v | %.0f ms | %d | %d | %.1f MiB |\n", n, float64(checks)/o.length.Seconds(),
		100*(cpu2-cpu).Seconds()/o.length.Seconds(), float64((cpu2-cpu).Microseconds())/float64(checks),
		lag.Quantile(0.99), float64(lag.Most.Microseconds())/1000, after.Late-before.Late, busiest, resident)
	return nil
}

// watch lets time pass and returns how many checks ran at once at most.
func watch(r *healthcheck.Runner, d time.Duration) (most int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(d); ; {
		select {
		case <-end:
			return most
		case <-tick.C:
			most = max(most, r.Stats().InFlight)
		}
	}
}

// allRight tells whether as many servers are up as there are.
func allRight(r *healthcheck.Runner, want int) error {
	up, reasons := 0, make(map[string]int)
	for _, s := range r.Statuses() {
		if s.Verdict == healthcheck.Up {
			up++
		} else {
			reasons[s.Verdict.String()+" "+s.Reason]++
		}
	}
	if up != want {
		return fmt.Errorf("%d servers are up, not %d: %v", up, want, reasons)
	}
	return nil
}

func subjects(o options, n int, port, hole uint16) []healthcheck.Subject {
	list := make([]healthcheck.Subject, n)
	for i := range list {
		addr := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
		at := netip.AddrPortFrom(addr, port)
		if i < int(float64(n)*o.holes) {
			at = netip.AddrPortFrom(addr, hole)
		}
		list[i] = healthcheck.Subject{
			ID: fmt.Sprintf("tcp 192.0.2.10:80|%v|0|%d", at, i), Check: healthcheck.Check{Type: o.kind},
			Target:   healthcheck.Target{Real: at},
			Schedule: healthcheck.Schedule{Interval: o.interval, Timeout: o.interval, Jitter: 0.05},
		}
	}
	return list
}

// blackHole returns a port of all addresses of loopback whose queue is full, so that connecting
// goes unanswered.
func blackHole() (uint16, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return 0, err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	at := name.(*unix.SockaddrInet4)
	at.Addr = [4]byte{127, 0, 0, 1}
	for range 2 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return 0, err
		}
		if err := unix.Connect(c, at); err != unix.EINPROGRESS && err != nil { // for ever
			return 0, err
		}
	}
	return uint16(at.Port), nil
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are ours
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
