package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/internal/lab/boot"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestKernelLdirectord: Debian's ldirectord, on the sample configuration that it
// is shipped with, and goipvsd, on what the importer makes of it, check the same
// servers and make the same kernel tables, whichever of the servers live.
func TestKernelLdirectord(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 1})
	dir, err := boot.Ldirectord()
	r.must(err)
	r.patience = 5 * time.Minute // ldirectord starts two programs for each change it makes
	sample, src := ldirectordSample(r, dir)
	made := importer.Ldirectord(sample, src, importer.Options{})
	if len(made.Config.Virtuals) != 1 || len(made.Config.Virtuals[0].Reals) != 3 {
		t.Fatalf("the sample became\n%s", config.Print(made.Config))
	}
	made.Config.Control, made.Config.ControlGroup, made.Config.StateDir = r.path("sock"), "", r.path("state")
	r.must(os.WriteFile(r.path("goipvs.toml"), config.Print(made.Config), 0o600))

	pages := newPages(r, made.Config.Virtuals[0].Reals)
	const service = "tcp 192.168.6.240:80 rr flags 0x0 timeout 0s mask 255.255.255.255"
	server := func(list ...string) string {
		lines := []string{service}
		for _, a := range list {
			lines = append(lines, "  "+a+":80 dr weight 1")
		}
		return strings.Join(lines, "\n")
	}
	steps := []struct {
		dead []string
		want string
	}{
		{nil, server("192.168.6.2", "192.168.6.3", "192.168.6.6")},
		{[]string{"192.168.6.3"}, server("192.168.6.2", "192.168.6.6")},
		{[]string{"192.168.6.2", "192.168.6.3", "192.168.6.6"}, server("127.0.0.1")},
		{[]string{"192.168.6.2", "192.168.6.3"}, server("192.168.6.6")},
	}
	for _, daemon := range []struct {
		name  string
		start func() (stop func())
	}{
		{"goipvsd", func() func() { r.start(); return func() { r.stop() } }},
		{"ldirectord", func() func() { return startLdirectord(r, dir, sample) }},
	} {
		pages.die()
		stop := daemon.start()
		for _, s := range steps {
			pages.die(s.dead...)
			r.await(fmt.Sprintf("%s has, with %q dead, the table\n%s", daemon.name, s.dead, s.want), func() bool { return r.whole() == s.want })
		}
		stop()
		r.await("the table is empty after "+daemon.name, func() bool { return r.whole() == "" })
	}
}

// ldirectordSample is the sample of Debian's package, which compresses it or not.
func ldirectordSample(r *rig, dir string) (file string, text []byte) {
	r.Helper()
	file = filepath.Join(dir, "usr/share/doc/ldirectord/examples/ldirectord.cf")
	text, err := os.ReadFile(file)
	if err == nil {
		return file, text
	}
	packed, err := os.Open(file + ".gz")
	r.must(err)
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	r.must(err)
	text, err = io.ReadAll(z)
	r.must(err)
	file = r.path("ldirectord.cf")
	r.must(os.WriteFile(file, text, 0o600))
	return file, text
}

// startLdirectord runs it in the foreground with Debian's ipvsadm, which it takes
// from its working folder when it is debugged.
func startLdirectord(r *rig, dir, file string) (stop func()) {
	r.Helper()
	tool, err := boot.Ipvsadm()
	r.must(err)
	at := r.path("ldirectord")
	r.must(os.MkdirAll(at, 0o755))
	r.must(os.Symlink(filepath.Join(tool, "sbin/ipvsadm"), filepath.Join(at, "ipvsadm")))
	perl := filepath.Join(dir, "usr/bin/perl") // not there when the machine's is new enough
	if _, err := os.Stat(perl); err != nil {
		perl = "perl"
	}
	under := func(patterns ...string) string {
		var list []string
		for _, p := range patterns {
			found, err := filepath.Glob(p)
			r.must(err)
			list = append(list, found...)
		}
		return strings.Join(list, ":")
	}
	cmd := exec.Command(perl, filepath.Join(dir, "usr/sbin/ldirectord"), "-d", file, "start")
	cmd.Dir = at
	cmd.Env = append(os.Environ(), "PERLIO=perlio", // or it starts itself once more
		"PERL5LIB="+under(dir+"/etc/perl", dir+"/usr/lib/*-linux-gnu/perl5/*", dir+"/usr/share/perl5", dir+"/usr/lib/*-linux-gnu/perl/*", dir+"/usr/share/perl/*", dir+"/usr/lib/*-linux-gnu/perl-base"),
		"LD_LIBRARY_PATH="+under(tool+"/lib/*-linux-gnu", tool+"/usr/lib/*-linux-gnu", dir+"/lib/*-linux-gnu", dir+"/usr/lib/*-linux-gnu"))
	return r.foreground("ldirectord", cmd)
}

// whole is all of the kernel's table that a configuration can say, services and
// their real servers in the order of their text.
func (r *rig) whole() string {
	s, err := ipvs.Read(r.client)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, e := range s.Table {
		s := e.Service
		head := strings.TrimSpace(fmt.Sprintf("%s %s flags %#x timeout %s mask %s %s", s.ServiceKey, s.Scheduler, uint32(s.Flags), s.Timeout, s.Netmask.Text(s.AF()), s.PE))
		var dests []string
		for _, d := range e.Destinations {
			dests = append(dests, "  "+d.String())
		}
		slices.Sort(dests)
		all = append(all, strings.Join(append([]string{head}, dests...), "\n"))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// pages are web servers on addresses of the director itself, for checks only.
type pages struct {
	mu   sync.Mutex
	dead []string
}

func newPages(r *rig, servers []config.Real) *pages {
	r.Helper()
	p := new(pages)
	r.must(r.net.Director.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for _, s := range servers {
			n := &net.IPNet{IP: s.Addr.AsSlice(), Mask: net.CIDRMask(32, 32)}
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: n, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST}); err != nil {
				return err
			}
		}
		return nil
	}))
	l, err := r.net.Director.Listen("tcp", netip.MustParseAddrPort("0.0.0.0:80"))
	r.must(err)
	s := &http.Server{Handler: http.HandlerFunc(p.answer)}
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	r.Cleanup(func() { s.Close(); <-done })
	return p
}

// die has these servers, and no others, give a wrong page.
func (p *pages) die(list ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = list
}

func (p *pages) answer(w http.ResponseWriter, q *http.Request) {
	host, _, err := net.SplitHostPort(q.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || slices.Contains(p.dead, host) || q.URL.Path != "/index.html" {
		http.Error(w, "nothing to see", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "Test Page")
}

// foreground runs another director, which stop ends.
func (r *rig) foreground(name string, cmd *exec.Cmd) (stop func()) {
	r.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log := new(buffer)
	cmd.Stdout, cmd.Stderr = log, log
	r.must(r.net.Director.Do(cmd.Start))
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	r.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if r.Failed() {
			text := log.String()
			r.Logf("%s's last words:\n%s", name, text[max(0, len(text)-3000):])
		}
	})
	return func() {
		r.Helper()
		r.must(cmd.Process.Signal(unix.SIGTERM))
		select {
		case <-ended:
		case <-time.After(r.patience):
			r.Error(name + " does not stop")
		}
	}
}
