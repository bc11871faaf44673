package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// bothByFullNAT has the client ask so many times: rs1 and rs2 answer, and see the
// director's address.
func (r *rig) bothByFullNAT(times int) {
	r.Helper()
	seen := map[string]bool{}
	for range times {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		a, err := r.net.Client.Ask(ctx, "tcp", netip.AddrPort{}, vipPort)
		cancel()
		r.must(err)
		seen[a.Server] = true
		if a.Remote.Addr() != r.net.Director.Addr4 {
			r.Errorf("%s saw the client as %s, want the director's address", a.Server, a.Remote)
		}
	}
	if !seen["rs1"] || !seen["rs2"] {
		r.Errorf("only %v answered", seen)
	}
}

// TestKernelFullNAT: real servers that know no way to the client are reached
// through the engine, whose servers come and go as the kernel's do.
func TestKernelFullNAT(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	servers := serveAll(r)
	r.file("hold_on_mass_failure = 1.0\n" + strings.Replace(three(2, ""), `"nat"`, `"fullnat"`, 1) + `
[[virtual]]
name      = "kernel"
address   = "192.0.2.10:81"
forward   = "nat"
[[virtual.real]]
address   = "10.9.0.13:80"
`)
	r.start()
	r.becomes(`tcp 192.0.2.10:81 wlc
		  10.9.0.13:80 nat 1`)
	in := func(n int, place string) func() bool {
		return func() bool { return r.server(rip(n)).Place == place }
	}
	r.await("rs1 is in", in(1, "in"))
	r.await("rs2 is in", in(2, "in"))
	r.bothByFullNAT(6)
	r.must(servers[0].Close())
	r.await("rs1 is quiesced", in(1, "quiesced"))
	for range 4 {
		if who := r.ask(vipPort); who != "rs2" {
			t.Errorf("%q answered", who)
		}
	}
	// The same service by the kernel, and back.
	r.file("hold_on_mass_failure = 1.0\n" + three(2, ""))
	r.must(os.WriteFile(r.path("goipvs.toml"), []byte(r.head()+"max_removal = 1.0\nhold_on_mass_failure = 1.0\n"+three(2, "")), 0o600))
	r.ok("reload")
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 0
		  10.9.0.12:80 nat 1`)
	if who := r.ask(vipPort); who != "rs2" {
		t.Errorf("%q answered by the kernel", who)
	}
}

// TestKernelCheckByThePath: a real server that lost its virtual address answers
// on its own, and is found all the same. The answers come from the VIP: the daemon
// has the kernel let them in where the servers are, and no longer when nobody is
// checked so.
func TestKernelCheckByThePath(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 2, Router: true})
	serveAll(r)
	accepts := func() string {
		v, err := r.net.Director.ReadSysctl("net.ipv4.conf.eth0.accept_local")
		r.must(err)
		return v
	}
	before := accepts()
	r.file("hold_on_mass_failure = 1.0\n" + strings.Replace(strings.NewReplacer(`"nat"`, `"dr"`, `"20s"`, `"2s"`).Replace(three(2, "")), "type      = \"connect\"\n", "type      = \"http\"\nvia       = \"path\"\n", 1))
	r.start()
	web := func() string { return strings.Split(r.table(), "\nfwmark")[0] }
	r.await("both are in", func() bool {
		return web() == "tcp 192.0.2.10:80 rr\n  10.9.0.11:80 dr 1\n  10.9.0.12:80 dr 1"
	})
	if n := strings.Count(r.table(), "fwmark"); n != 2 {
		t.Errorf("%d services for the checks, want 2", n)
	}
	if out := r.ok("status"); strings.Contains(out, "fwmark") || !strings.Contains(out, "10.9.0.11:80") {
		t.Errorf("status shows what is not the operator's:\n%s", out)
	}
	r.must(r.net.Servers[0].Do(func() error {
		places, err := vip.Find(vipPort.Addr())
		for _, p := range places {
			if _, err := vip.Delete(vipPort.Addr(), p.Dev); err != nil {
				return err
			}
		}
		return err
	}))
	r.await("rs1, which lost the VIP, is quiesced", func() bool {
		return web() == "tcp 192.0.2.10:80 rr\n  10.9.0.11:80 dr 0\n  10.9.0.12:80 dr 1"
	})
	r.kill()
	if got := accepts(); got != "1" || before != "0" {
		t.Errorf("accept_local was %s, and is %s after the daemon was killed", before, got)
	}
	r.file("hold_on_mass_failure = 1.0\n" + strings.Replace(three(2, ""), `"nat"`, `"dr"`, 1))
	r.start()
	r.await("the knob is set back when no check needs it", func() bool { return accepts() == "0" })
	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
}

// TestKernelVIP: the virtual address comes with the service, is announced, and
// goes with it, not with the daemon.
func TestKernelVIP(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 2})
	serveAll(r)
	const address = "10.9.77.7"
	heard := topotest.Capture(t, r.net.Servers[1], "eth0")
	more := fmt.Sprintf("[[virtual]]\nname = \"v\"\naddress = \"%s:80\"\nforward = \"nat\"\nvip_interface = \"eth0\"\n[[virtual.real]]\naddress = %q\n", address, rip(1))
	r.file("max_removal = 1.0\n" + three(1, "") + more)
	r.start()
	where := func() (devs string) {
		r.must(r.net.Director.Do(func() error {
			places, err := vip.Find(netip.MustParseAddr(address))
			for _, p := range places {
				devs += p.Dev + " "
			}
			return err
		}))
		return devs
	}
	there := func() bool { return where() == "eth0 " }
	r.await("the address is there", there)
	r.await("rs2 heard of it", func() bool {
		packets, err := heard.Packets()
		r.must(err)
		for _, p := range packets {
			if strings.Contains(p.String(), address) {
				return true
			}
		}
		return false
	})
	r.must(r.net.Director.Do(func() error { _, err := vip.Delete(netip.MustParseAddr(address), "eth0"); return err }))
	r.await("it is back after somebody took it away", there)
	r.file("max_removal = 1.0\n" + three(1, "") + strings.Replace(more, "eth0", "lo", 1))
	r.ok("reload")
	r.await("it has moved to the other interface", func() bool { return where() == "lo " })
	r.file("max_removal = 1.0\n" + three(1, "") + strings.Replace(more, "eth0", "typo0", 1))
	r.ok("reload")
	r.await("that it cannot go there is said", func() bool { return strings.Contains(r.log.String(), "event=vip_failed") })
	if got := where(); got != "lo " {
		t.Errorf("it cannot move to an interface that is not there, and is now on %q", got)
	}
	r.file("max_removal = 1.0\n" + three(1, "") + more)
	r.ok("reload")
	r.await("it is back on the first interface", there)
	if status := r.stop(); status != 0 || !there() {
		t.Errorf("stopped with %d; the address must stay with the services", status)
	}
	r.start()
	r.file("max_removal = 1.0\n" + three(1, ""))
	r.ok("reload")
	r.await("it is gone with its service", func() bool { return !there() })
}

// TestKernelHTTP: metrics and page of a daemon in its own namespace.
func TestKernelHTTP(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 2})
	serveAll(r)
	r.file("http = \"127.0.0.1:9182\"\nhold_on_mass_failure = 1.0\n" + three(2, ""))
	r.start()
	r.becomes("tcp 192.0.2.10:80 rr\n  10.9.0.11:80 nat 1\n  10.9.0.12:80 nat 1")
	get := func(path string) (text string) {
		r.await("GET "+path, func() bool {
			c, err := r.net.Director.Dial(context.Background(), "tcp", netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:9182"))
			if err != nil {
				return false
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			fmt.Fprintf(c.Conn, "GET %s HTTP/1.0\r\n\r\n", path)
			b, err := io.ReadAll(c.Conn)
			text = string(b)
			return err == nil && strings.Contains(text, "200 OK")
		})
		return text
	}
	if text := get("/metrics"); !strings.Contains(text, `goipvs_server_up{address="tcp 192.0.2.10:80",server="10.9.0.12:80",service="web"} 1`) {
		t.Error(text)
	}
	if text := get("/status.json"); !strings.Contains(text, `"state":"up"`) {
		t.Error(text)
	}
	if text := get("/"); !strings.Contains(text, "10.9.0.11:80") {
		t.Error(text)
	}
}
