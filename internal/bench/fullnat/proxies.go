package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// proxy is one of those that are compared.
type proxy struct {
	name  string
	base  uint16
	udp   bool
	cmd   *exec.Cmd
	begin func(n *topo.Net, base uint16) error // in place of cmd: the kernel does it
	net   *topo.Net                            // where it runs; nil: with the others
	to    netip.AddrPort                       // where its services are; invalid: base at the VIP
	size  float64                              // bytes of memory when it was idle
}

func (c *contest) startProxies(dir string) error {
	var err error
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	vip := c.net.VIP4
	c.proxies = []*proxy{
		{name: "goipvs", base: 8100, udp: true},
		{name: "haproxy", base: 8200, cmd: exec.Command("haproxy", "-db", "-f", write("splice.cfg", haproxyConfig(vip, 8200, c.names(), true)))},
		{name: "haproxy no splice", base: 8300, cmd: exec.Command("haproxy", "-db", "-f", write("copy.cfg", haproxyConfig(vip, 8300, c.names(), false)))},
		{name: "nginx", base: 8400, udp: true, cmd: exec.Command("nginx", "-p", dir, "-c", write("nginx.conf", nginxConfig(vip, 8400, c.names())))},
	}
	c.proxies[0].cmd = c.ours("/proc/self/exe", c.proxies[0])
	if c.kernel {
		c.proxies = append(c.proxies, &proxy{name: "kernel plane", base: 8500, udp: true, begin: kernelPlane})
	}
	if c.nft {
		c.proxies = append(c.proxies, &proxy{name: "nftables", base: 8500, udp: true, begin: doNFTables})
	}
	for i, file := range c.against {
		p := &proxy{name: filepath.Base(file), base: uint16(8600 + 100*i), udp: true}
		p.cmd = c.ours(file, p)
		c.proxies = append(c.proxies, p)
	}
	if c.floor {
		err = errors.Join(err, c.addFloor(exec.Command("haproxy", c.proxies[1].cmd.Args[1:]...)))
	}
	for _, p := range c.proxies {
		if p.net == nil {
			p.net = c.net
		}
		if !p.to.IsValid() {
			p.to = netip.AddrPortFrom(vip, p.base)
		}
		switch {
		case err != nil:
		case p.begin != nil:
			err = p.begin(p.net, p.base)
		default:
			err = c.start(p.net.Director, p.cmd)
		}
		if err == nil {
			err = c.awaitProxy(p)
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
		if p.cmd != nil {
			p.size = memoryOf(p.cmd)
		}
	}
	return os.RemoveAll(dir) // they have read it
}

// ours is this program, or another build of it, as a proxy.
func (c *contest) ours(file string, p *proxy) *exec.Cmd {
	cmd := exec.Command(file)
	return as(cmd, append([]string{"proxy", netip.AddrPortFrom(c.net.VIP4, p.base).String()}, c.names()...)...)
}

// names are the real servers' addresses.
func (c *contest) names() (names []string) {
	for _, h := range c.net.Servers {
		names = append(names, h.Addr4.String())
	}
	return names
}

// awaitProxy waits until requests get through.
func (c *contest) awaitProxy(p *proxy) (err error) {
	for range 200 {
		var d *dialogue
		if d, err = c.talk(p, load{kind: "short", count: 1}, 50*time.Millisecond); err == nil {
			d.end()
			if d.warm.Units > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("no answer through %s: %w", p.to, err)
}

// threads are those of each proxy: two, or one where there is one CPU.
func threads() int { return min(2, runtime.NumCPU()) }

// haproxyConfig is tuned as in the measurements that the design rests on: two
// threads on a CPU each, a listener for each, ACKs saved where possible.
func haproxyConfig(vip netip.Addr, base int, servers []string, splice bool) string {
	var s strings.Builder
	fmt.Fprintf(&s, "global\n nbthread %d\n cpu-map auto:1/1-%[1]d 0-%d\n maxconn 4000\n", threads(), threads()-1)
	s.WriteString("defaults\n mode tcp\n balance roundrobin\n" +
		" option tcp-smart-accept\n option tcp-smart-connect\n timeout client 900s\n timeout server 900s\n timeout connect 3s\n")
	if splice {
		s.WriteString(" option splice-auto\n")
	}
	for p := range portEcho {
		fmt.Fprintf(&s, "listen l%d\n bind %s:%d shards by-thread backlog 16384\n", p, vip, base+p)
		for i, lip := range locals() {
			fmt.Fprintf(&s, " server s%d %s:%d source %s\n", i, servers[i%len(servers)], serverBase+p, lip)
		}
	}
	return s.String()
}

func nginxConfig(vip netip.Addr, base int, servers []string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nuser root;\npid nginx.pid;\nerror_log stderr crit;\nworker_processes %d;\nworker_cpu_affinity auto;\n", threads())
	s.WriteString("worker_rlimit_nofile 20000;\nevents { worker_connections 9000; }\nstream {\n split_clients $remote_addr$remote_port $lip {\n")
	for _, lip := range locals()[1:] {
		fmt.Fprintf(&s, "  12.5%% %s;\n", lip)
	}
	fmt.Fprintf(&s, "  * %s;\n }\n", locals()[0])
	for p := range ports {
		kind := ""
		if p == portEcho {
			kind = "udp "
		}
		fmt.Fprintf(&s, " upstream u%d {", p)
		for _, rs := range servers {
			fmt.Fprintf(&s, " server %s:%d;", rs, serverBase+p)
		}
		fmt.Fprintf(&s, " }\n server { listen %s:%d %sreuseport", vip, base+p, kind)
		if kind == "" {
			s.WriteString(" backlog=16384")
		}
		fmt.Fprintf(&s, "; proxy_pass u%d; proxy_bind $lip; proxy_timeout 900s; }\n", p)
	}
	return s.String() + "}\n"
}

// beProxy is ours, with everything on.
func beProxy(at netip.AddrPort, servers []string) error {
	e, err := fullnat.New(fullnat.Config{Loops: threads()})
	if err != nil {
		return err
	}
	var want []fullnat.Service
	for p := range ports {
		proto := ipvs.TCP
		if p == portEcho {
			proto = ipvs.UDP
		}
		s := fullnat.Service{
			Service: ipvs.Service{ServiceKey: ipvs.AddrService(proto, netip.AddrPortFrom(at.Addr(), at.Port()+uint16(p))), Scheduler: "wlc"},
			Options: fullnat.Options{Locals: locals()},
		}
		for _, rs := range servers {
			to, err := netip.ParseAddr(rs)
			if err != nil {
				return err
			}
			s.Destinations = append(s.Destinations, ipvs.Destination{
				Addr: netip.AddrPortFrom(to, uint16(serverBase+p)), Method: ipvs.FullNAT, Weight: 1, Upper: 1 << 30, Lower: 1 << 29,
			})
		}
		want = append(want, s)
	}
	if err := e.Apply(want); err != nil {
		return err
	}
	select {}
}
