package director

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

func build(t *testing.T, text string) (*Setup, error) {
	t.Helper()
	c, err := config.Parse("goipvs.toml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, _ = c.Bind(func(config.Host) (netip.Addr, bool) { return netip.Addr{}, false })
	return Build(c, false)
}

const dr = `
[[virtual]]
name = "web"
address = "192.0.2.10:80"
forward = "dr"
fallback = ["127.0.0.1:80"]
quiescent = false
drain = "5s"
slow_start = "6s"
quorum = 2
[virtual.check]
type = "http"
via = "path"
[[virtual.real]]
address = "10.0.0.1"
weight = 3
upper = 10
lower = 5
[[virtual.real]]
address = "10.0.0.2"
`

// TestBuildTellsOnce: a check that cannot be made is one problem, however many
// servers have it.
func TestBuildTellsOnce(t *testing.T) {
	_, err := build(t, `
[[virtual]]
name = "web"
address = "192.0.2.10:443"
[virtual.check]
type = "https"
ca = "/nonexistent"
[[virtual.real]]
address = "10.0.0.1-10.0.0.200"
[[virtual.real]]
address = "10.0.1.1"
`)
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.HasPrefix(err.Error(), "goipvs.toml:8: virtual web, real 10.0.0.1:443: check https: ") ||
		!strings.HasSuffix(err.Error(), "(and 200 more real servers)") {
		t.Error(err)
	}
}

// TestBuildWindow: a mass failure is judged by the checks that a server has.
func TestBuildWindow(t *testing.T) {
	s, err := build(t, dr+"[[virtual]]\naddress = \"192.0.2.11:80\"\n[[virtual.check]]\ntype = \"connect\"\ninterval = \"2s\"\ntimeout = \"1s\"\n"+
		"[[virtual.check]]\ntype = \"http\"\ninterval = \"1m\"\n[[virtual.real]]\naddress = \"10.0.0.3\"\n")
	if err != nil {
		t.Fatal(err)
	}
	for vip, want := range map[string]time.Duration{"192.0.2.10:80": 15 * time.Second, "192.0.2.11:80": 65 * time.Second} {
		v := s.byKey()[ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort(vip))]
		if got := v.Servers[0].Window; got != want {
			t.Errorf("window of %s: %v, want %v", vip, got, want)
		}
	}
}

// TestBuild: what a file says arrives, and checks by the path get a service of
// their own for each server, whose mark does not change when others come.
func TestBuild(t *testing.T) {
	s, err := build(t, "drain = \"7s\"\n"+dr)
	if err != nil {
		t.Fatal(err)
	}
	v := s.byKey()[ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.10:80"))]
	if v == nil || v.Name != "web" || v.Quiescent || v.Drain != 5*time.Second || v.SlowStart != 6*time.Second || v.Quorum != 2 ||
		len(v.Servers) != 2 || v.Servers[0].Weight != 3 || v.Servers[0].Upper != 10 || v.Servers[0].Lower != 5 || v.Servers[0].Method != ipvs.DirectRoute ||
		len(v.Fallback) != 1 || s.Settings.Drain != 7*time.Second {
		t.Errorf("%+v, %+v", v, s.Settings)
	}
	marks := marksOf(s)
	if len(marks) != 2 || marks["10.0.0.1:80"] == marks["10.0.0.2:80"] || marks["10.0.0.1:80"] < firstMark {
		t.Errorf("marks %v", marks)
	}
	more, err := build(t, strings.Replace(dr, "[[virtual.real]]", "[[virtual.real]]\naddress = \"10.0.0.9\"\n[[virtual.real]]", 1))
	if err != nil {
		t.Fatal(err)
	}
	if again := marksOf(more); again["10.0.0.1:80"] != marks["10.0.0.1:80"] || again["10.0.0.2:80"] != marks["10.0.0.2:80"] || len(again) != 3 {
		t.Errorf("marks %v were %v", again, marks)
	}
	for _, x := range s.Services {
		if x.Path && (len(x.Servers) != 1 || x.Servers[0].Addr.Port() != 0 || !x.UncheckedUp) {
			t.Errorf("%+v", x)
		}
	}
}

func marksOf(s *Setup) map[string]uint32 {
	m := make(map[string]uint32)
	for i := range s.Subjects {
		m[s.Subjects[i].Server.Addr.String()] = s.Subjects[i].Target.Mark
	}
	return m
}

// TestBuildRefuses: what cannot be done is said with file and line.
func TestBuildRefuses(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(dr, "via = \"path\"", "receive = \"x\"\nmethod = \"GET\"\nfollow = 1", 1):                                                                                                          "",
		"[[virtual]]\naddress = \"192.0.2.10:443\"\nforward = \"nat\"\n[virtual.check]\ntype = \"https\"\nca = \"/nonexistent\"\n[[virtual.real]]\naddress = \"10.0.0.1\"\n":                               "goipvs.toml:7: virtual 192.0.2.10:443, real 10.0.0.1:443: ",
		"[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"fullnat\"\n[virtual.fullnat]\nproxy_protocol = \"v2\"\nlocal = [\"198.51.100.1-198.51.100.3\"]\n[[virtual.real]]\naddress = \"10.0.0.1\"\n": "",
	} {
		_, err := build(t, text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q, of\n%s", err, want, text)
		}
	}
}
