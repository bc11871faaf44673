package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/internal/bench"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/testserver"
)

// roleVariable makes this program one of the bench's own processes.
const roleVariable = "GOIPVS_BENCH_ROLE"

// The services of every proxy, at its base port and after; servers have the
// same at serverBase.
const (
	portShort = iota // one answer, then the server closes
	portAlive        // an answer for each request
	portBulk         // no end of bytes
	portEcho         // UDP
	ports
)

const serverBase = 9000

type contest struct {
	rounds  int
	length  time.Duration
	clients int  // threads of each client
	kernel  bool // the kernel's plane takes part
	nft     bool // nftables alone takes part
	floor   bool // what does less than the kernel's plane takes part
	against []string
	loads   []load
	proxies []*proxy
	net     *topo.Net
	nets    []*topo.Net // all of them
	running []*exec.Cmd
	servers []*exec.Cmd
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(strings.Fields(role)); err != nil {
			fmt.Fprintln(os.Stderr, "bench-fullnat:", err)
			os.Exit(1)
		}
		return
	}
	c := &contest{}
	flag.IntVar(&c.rounds, "rounds", 15, "slices of each load for each proxy")
	flag.DurationVar(&c.length, "length", 500*time.Millisecond, "how long a slice lasts")
	flag.BoolVar(&c.kernel, "kernel", false, "IPVS and nftables take part, and the CPU of the whole machine is compared; for the lab")
	flag.BoolVar(&c.nft, "nft", false, "nftables alone takes part, which is the kernel's plane without IPVS, and the CPU of client and servers is counted, too; for machines without IPVS")
	flag.BoolVar(&c.floor, "floor", false, "those take part that do less than the kernel's plane: a router, with and without connection tracking, IPVS by NAT whose servers have a route back; with -kernel")
	against := flag.String("against", "", "other builds of this program whose proxies take part, by file with commas")
	flag.IntVar(&c.clients, "clients", 1, "threads of each client: with more than one each is tied to a CPU, and packets come in on all of them, as from a network card with a queue for each; with one they come in on the CPU where it happens to be")
	rate := flag.Int("rate", 0, "requests a second of the loads that have a rate; 0 is their own")
	only := flag.String("loads", "", "loads to run, by name with commas; all of them if empty")
	flag.Parse()
	c.clients = max(c.clients, 1)
	c.against = strings.FieldsFunc(*against, func(r rune) bool { return r == ',' })
	for _, l := range allLoads {
		if l.rate > 0 && *rate > 0 {
			l.rate = *rate
		}
		if *only == "" || slices.Contains(strings.Split(*only, ","), l.name) {
			c.loads = append(c.loads, l)
		}
	}
	err := bench.Run(func(dir string) error {
		defer c.stop()
		return c.run(dir)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-fullnat:", err)
		os.Exit(1)
	}
}

func (c *contest) run(dir string) error {
	if os.Getuid() != 0 {
		return errors.New("needs root: for network namespaces, and to install haproxy, nginx-light and libnginx-mod-stream where they are missing")
	}
	// Who became root by su may not have these, which dpkg needs, too.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	if err := testserver.Install("haproxy", "nginx-light", "libnginx-mod-stream"); err != nil {
		return err
	}
	var err error
	if c.net, err = c.build(); err != nil {
		return err
	}
	if err := c.startProxies(dir); err != nil {
		return err
	}
	return c.measure()
}

// build makes a network and starts its servers, which have no route to the
// client.
func (c *contest) build() (*topo.Net, error) {
	n, err := topo.New(topo.Spec{Servers: 2})
	if err != nil {
		return nil, err
	}
	c.nets = append(c.nets, n)
	for _, a := range locals() {
		if err := n.Director.AddAddr("eth0", netip.PrefixFrom(a, 16)); err != nil {
			return nil, err
		}
	}
	// The wire between the machines is a bridge, whose packets cost whoever sends
	// them. That a firewall looks at them there is no cost of a director's.
	for _, family := range []string{"iptables", "ip6tables", "arptables"} {
		if err := n.Switch.Sysctl("net.bridge.bridge-nf-call-"+family, "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return n, c.startServers(n)
}

// locals are the LIPs, in the servers' segment.
func locals() (as []netip.Addr) {
	for i := range byte(8) {
		as = append(as, netip.AddrFrom4([4]byte{10, 9, 1, 1 + i}))
	}
	return as
}

func (c *contest) startServers(n *topo.Net) error {
	for _, h := range n.Servers {
		cmd, err := c.self(h, "server", h.Addr4.String())
		if err != nil {
			return err
		}
		c.servers = append(c.servers, cmd)
	}
	return nil
}

// self starts this program in a role on a host.
func (c *contest) self(h *topo.Host, role ...string) (*exec.Cmd, error) {
	cmd := selfCommand(role...)
	return cmd, c.start(h, cmd)
}

// start runs a program on a host, until stop at the latest.
func (c *contest) start(h *topo.Host, cmd *exec.Cmd) error {
	err := startBound(h, cmd)
	if err == nil {
		c.running = append(c.running, cmd)
	}
	return err
}

// startBound starts a program on a host. It ends with this process, however that
// ends, and so does all that it starts, such as nginx' workers: its namespace of
// processes ends with it.
func startBound(h *topo.Host, cmd *exec.Cmd) error {
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	return h.Do(cmd.Start)
}

func (c *contest) stop() {
	for _, cmd := range c.running {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for _, n := range c.nets {
		if err := n.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "bench-fullnat:", err)
		}
	}
}
