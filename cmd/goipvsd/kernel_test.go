package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

const web = `
[check]
interval = "300ms"
timeout  = "20s"
[[virtual]]
name      = "web"
address   = "192.0.2.10:80"
scheduler = "rr"
forward   = "nat"
fallback  = ["127.0.0.1:80"]
[virtual.check]
type      = "http"
request   = "/healthz"
[[virtual.real]]
address   = "10.9.0.11:80"
[[virtual.real]]
address   = "10.9.0.12:80"
weight    = 3
`

var vipPort = netip.MustParseAddrPort("192.0.2.10:80")

// TestKernelMainPath: a file becomes a table, a dead server is quiesced and
// comes back, the fallback stands in when all are dead, a reload brings a service,
// and status tells all of it.
func TestKernelMainPath(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 2})
	servers := serveAll(r)
	_, err := r.net.Director.Serve("tcp", 80, vipPort.Addr())
	r.must(err)
	r.file("hold_on_mass_failure = 1.0\n" + web)
	r.start()
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 3`)

	r.must(servers[0].Close())
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 0
		  10.9.0.12:80 nat 3`)
	for range 6 {
		if who := r.ask(vipPort); who != "rs2" {
			t.Errorf("%q answered, want rs2", who)
		}
	}
	// A check that is under way when the server ends is reset.
	if s := r.server(rip(1)); s.Verdict != "down" || s.Place != "quiesced" || !strings.Contains(s.Reason, "connection refused") && !strings.Contains(s.Reason, "connection reset") {
		t.Errorf("status of the dead server: %+v", s)
	}

	r.must(servers[1].Close())
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 0
		  10.9.0.12:80 nat 0
		  127.0.0.1:80 dr 1`)
	if who := r.ask(vipPort); who != "director" {
		t.Errorf("%q answered, want the director's own fallback", who)
	}
	if out := r.ok("status"); !strings.Contains(out, "fallback in use") || !strings.Contains(out, "DOWN") {
		t.Error(out)
	}

	serveAll(r)
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 3`)

	r.file("hold_on_mass_failure = 1.0\n" + web + `
[[virtual]]
name = "dns"
address = "192.0.2.10:53"
protocol = "udp"
scheduler = "wlc"
forward = "nat"
[virtual.check]
type = "connect"
port = 80
[[virtual.real]]
address = "10.9.0.12:53"
`)
	if out := r.ok("reload"); out != "reloaded: 1 services added, 0 removed, 0 changed, 1 as before\n" {
		t.Error(out)
	}
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 3
		udp 192.0.2.10:53 wlc
		  10.9.0.12:53 nat 1`)

	r.file("nonsense = 1\n" + web)
	status, out, errw := r.goipvs("reload")
	if status != 1 || out != "" || !strings.Contains(errw, "goipvs.toml:4: ") {
		t.Errorf("reload of a bad file: status %d\n%s%s", status, out, errw)
	}
	if out := r.ok("status"); !strings.Contains(out, "RELOAD FAILED") || !strings.Contains(out, "dns") {
		t.Error(out)
	}
	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
	r.becomes(`tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 3
		udp 192.0.2.10:53 wlc
		  10.9.0.12:53 nat 1`)
}

// serveAll starts a server on port 80 of every real server.
func serveAll(r *rig) (all []*topo.Server) {
	r.Helper()
	for _, h := range r.net.Servers {
		s, err := h.Serve("tcp", 80)
		r.must(err)
		all = append(all, s)
	}
	return all
}
