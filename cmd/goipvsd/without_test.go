package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// named is a real server on loopback that says its name when a client comes,
// and whatever the client says after that.
type named struct {
	r    *rig
	name string
	addr string
	l    net.Listener
}

func newNamed(r *rig, name string) *named {
	r.Helper()
	s := &named{r: r, name: name}
	s.open(freeAddress(r))
	s.addr = s.l.Addr().String()
	r.Cleanup(s.close)
	return s
}

func (s *named) open(addr string) {
	s.r.Helper()
	s.r.await(addr+" is free", func() (ok bool) {
		var err error
		s.l, err = net.Listen("tcp", addr)
		return err == nil
	})
	go func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, s.name)
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					fmt.Fprintln(c, s.name, lines.Text())
				}
			}()
		}
	}(s.l)
}

func (s *named) close() { s.l.Close() }

// call connects to a service and returns who answered.
func (r *rig) call(vip string) (net.Conn, *bufio.Reader, string) {
	r.Helper()
	c, err := net.DialTimeout("tcp", vip, patience)
	r.must(err)
	r.Cleanup(func() { c.Close() })
	r.must(c.SetDeadline(time.Now().Add(patience)))
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	r.must(err)
	return c, in, strings.TrimSpace(line)
}

// onlyFrom has several clients be answered by these servers and no other.
func (r *rig) onlyFrom(vip string, names ...string) {
	r.Helper()
	seen := map[string]bool{}
	for range 6 {
		c, _, who := r.call(vip)
		c.Close()
		seen[who] = true
	}
	for _, n := range names {
		if !seen[n] {
			r.Errorf("%s did not answer, only %v", n, seen)
		}
		delete(seen, n)
	}
	if len(seen) > 0 {
		r.Errorf("%v answered, too, want only %v", seen, names)
	}
}

// TestWithoutIPVS: a whole configuration on this machine, which has no IPVS: NAT
// services run, a server that dies gets nobody, comes back, is drained; the file
// is read again, the daemon restarted; what cannot be done without IPVS is
// refused and harms no other. All of it is said.
func TestWithoutIPVS(t *testing.T) {
	if c, err := ipvs.Dial(ipvs.Options{}); err == nil {
		c.Close()
		t.Skip("this machine has IPVS")
	}
	r := &rig{T: t, dir: t.TempDir(), log: &buffer{}, patience: patience}
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("log of goipvsd:\n%s", r.log)
		}
	})
	servers := []*named{newNamed(r, "rs1"), newNamed(r, "rs2"), newNamed(r, "rs3")}
	vip, vip2 := freeAddress(r), freeAddress(r)
	virtual := func(name, at, forward, more string, servers ...*named) string {
		var text strings.Builder
		fmt.Fprintf(&text, "[[virtual]]\nname = %q\naddress = %q\nscheduler = \"rr\"\nforward = %q\n%s[virtual.check]\ntype = \"connect\"\n", name, at, forward, more)
		for _, s := range servers {
			fmt.Fprintf(&text, "[[virtual.real]]\naddress = %q\n", s.addr)
		}
		return text.String()
	}
	head := "without_ipvs = \"fullnat\"\nhold_on_mass_failure = 1.0\n[check]\ninterval = \"100ms\"\ntimeout = \"5s\"\n"
	web := virtual("web", vip, "nat", "", servers[0], servers[1])
	direct := virtual("direct", "192.0.2.1:80", "dr", "") + "[[virtual.real]]\naddress = \"127.0.0.1:80\"\n"
	insists := virtual("insists", "192.0.2.2:80", "fullnat", "[virtual.fullnat]\nplane = \"kernel\"\nlocal = [\"127.0.0.1\"]\n", servers[0])
	file := func(text string) {
		r.Helper()
		r.must(os.WriteFile(r.path("goipvs.toml"), []byte(r.head()+text), 0o600))
	}
	in := func(n int, place string) {
		r.Helper()
		r.await(servers[n].name+" is "+place, func() bool {
			s := r.server(servers[n].addr)
			w := int32(-1)
			if s.WeightKernel != nil {
				w = *s.WeightKernel
			}
			return s.Place == place && w == map[string]int32{"in": 1, "quiesced": 0, "out": -1, "leaving": 0}[place]
		})
	}

	file(head + web + direct + insists)
	r.start()
	in(0, "in")
	in(1, "in")
	r.onlyFrom(vip, "rs1", "rs2")
	if out := r.ok("status"); !strings.Contains(out, "WITHOUT IPVS") || !strings.Contains(out, "full NAT in user space: this machine has no IPVS") ||
		strings.Count(out, "REFUSED, cannot be served here: ") != 2 || !strings.Contains(out, "there is no dr") {
		t.Error(out)
	}
	for _, event := range []string{"level=WARN msg=\"this machine has no IPVS", "event=service_refused vs=direct", "event=service_refused vs=insists", "event=plane vs=web"} {
		if !strings.Contains(r.log.String(), event) {
			t.Errorf("no %s in the log", event)
		}
	}

	servers[0].close()
	in(0, "quiesced")
	r.onlyFrom(vip, "rs2")
	servers[0].open(servers[0].addr)
	in(0, "in")
	r.onlyFrom(vip, "rs1", "rs2")

	c, answers, who := r.call(vip)
	n := map[string]int{"rs1": 0, "rs2": 1}[who]
	r.ok("drain", servers[n].addr)
	if out := r.ok("drain", servers[n].addr); !strings.HasPrefix(out, "nothing to do for ") {
		t.Errorf("drained again: %s", out)
	}
	in(n, "leaving")
	r.onlyFrom(vip, servers[1-n].name)
	fmt.Fprintln(c, "still there")
	if line, err := answers.ReadString('\n'); err != nil || line != who+" still there\n" {
		t.Errorf("a connection to the drained server: %q, %v", line, err)
	}
	c.Close()
	in(n, "out")
	r.ok("enable", servers[n].addr)
	in(n, "in")

	file(head + web + direct + insists + virtual("more", vip2, "fullnat", "", servers[2]))
	r.ok("reload")
	r.await("the new service is up", func() bool { return strings.Contains(r.ok("status"), "more  tcp "+vip2+" rr  UP") })
	r.onlyFrom(vip2, "rs3")
	r.onlyFrom(vip, "rs1", "rs2")

	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
	r.start()
	in(0, "in")
	in(1, "in")
	r.onlyFrom(vip, "rs1", "rs2")
	r.onlyFrom(vip2, "rs3")
}
