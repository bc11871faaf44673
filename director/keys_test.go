package director

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/internal/testserver"
)

// TestCheckKeys: every key of a check is what the check is made of. What each
// then does is proven in package healthcheck, against real servers.
func TestCheckKeys(t *testing.T) {
	ca := testserver.NewAuthority(t)
	pair := ca.Issue(t, time.Time{}, "client.test")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "[check]\ninterval = \"11s\"\ntimeout = \"4s\"\nrise = 2\nfall = 3\nfast_interval = \"1s\"\njitter = 0.25\n"
	usual := healthcheck.Schedule{Interval: 11 * time.Second, Timeout: 4 * time.Second, FastInterval: time.Second, Rise: 2, Fall: 3, Jitter: 0.25}
	own := healthcheck.Schedule{Interval: 12 * time.Second, Timeout: 5 * time.Second, FastInterval: 2 * time.Second, Rise: 4, Fall: 5, Jitter: 0.5}
	real := healthcheck.Target{Real: netip.MustParseAddrPort("10.0.0.1:8080"), Virtual: netip.MustParseAddrPort("192.0.2.10:80"), Protocol: "tcp"}
	elsewhere := real
	elsewhere.Real, elsewhere.Source = netip.MustParseAddrPort("10.0.0.9:8080"), netip.MustParseAddr("10.0.0.254")
	for name, test := range map[string]struct {
		text string
		want Subject
	}{
		"times of [check]": {`type = "connect"`, Subject{Subject: healthcheck.Subject{Check: healthcheck.Check{Type: "connect"}, Target: real, Schedule: usual}}},
		"times of its own": {"type = \"ping\"\ninterval = \"12s\"\ntimeout = \"5s\"\nrise = 4\nfall = 5\nfast_interval = \"2s\"\njitter = 0.5",
			Subject{Subject: healthcheck.Subject{Check: healthcheck.Check{Type: "ping"}, Target: real, Schedule: own}}},
		"address, port, source": {"type = \"connect\"\naddress = \"10.0.0.9\"\nport = 81\nsource = \"10.0.0.254\"",
			Subject{Subject: healthcheck.Subject{Check: healthcheck.Check{Type: "connect", Port: 81}, Target: elsewhere, Schedule: usual}}},
		"HTTP and TLS": {"type = \"https\"\nrequest = \"/a\"\nreceive = \"b+\"\nstatus = \"204,300-302\"\nmethod = \"POST\"\nvirtualhost = \"www.test\"\nfollow = 2\nlogin = \"me\"\npassword = \"pw\"\n" +
			"server_name = \"tls.test\"\nverify = false\nca = \"" + ca.File + "\"\ncert = \"" + pair.CertFile + "\"\nkey = \"" + pair.KeyFile + "\"\nexpiry_warning = \"2h\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "https", Request: "/a", Receive: "b+", Status: "204,300-302", Method: "POST", VirtualHost: "www.test",
				Follow: 2, Login: "me", Password: "pw",
				TLS: healthcheck.TLS{ServerName: "tls.test", Insecure: true, CAFile: ca.File, CertFile: pair.CertFile, KeyFile: pair.KeyFile, Warn: 2 * time.Hour}}}}},
		"TLS beyond a proxy": {"type = \"http_proxy\"\nrequest = \"https://www.test/\"\nserver_name = \"tls.test\"\nverify = false\nca = \"" + ca.File + "\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "http_proxy", Request: "https://www.test/", Status: "200-299", Method: "GET",
				TLS: healthcheck.TLS{ServerName: "tls.test", Insecure: true, CAFile: ca.File, Warn: 14 * 24 * time.Hour}}}}},
		"a proxy and nothing beyond": {"type = \"http_proxy\"\nrequest = \"http://www.test/\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "http_proxy", Request: "http://www.test/", Status: "200-299", Method: "GET"}}}},
		"a proxy that only connects": {"type = \"http_proxy\"\nrequest = \"www.test:443\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "http_proxy", Request: "www.test:443"}}}},
		"starttls, no warning": {"type = \"smtp\"\ntls = \"starttls\"\nexpiry_warning = \"0s\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "smtp", TLS: healthcheck.TLS{Mode: "starttls", Warn: -1}}}}},
		"database, password_file": {"type = \"mysql\"\nlogin = \"me\"\npassword_file = \"" + secret + "\"\ndatabase = \"app\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "mysql", Login: "me", Password: "from a file", Database: "app"}}}},
		"secret": {"type = \"radius\"\nsecret = \"s\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "radius", Secret: "s"}}}},
		"require_message_authenticator": {"type = \"radius\"\nsecret = \"s\"\nrequire_message_authenticator = true",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "radius", Secret: "s", Signed: true}}}},
		"secret_file": {"type = \"radius\"\nsecret_file = \"" + secret + "\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "radius", Secret: "from a file"}}}},
		"record, protocol": {"type = \"dns\"\nrequest = \"a.test\"\nrecord = \"MX\"\nprotocol = \"udp\"",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "dns", Request: "a.test", Method: "MX", Protocol: "udp"}}}},
		"command": {"type = \"external\"\ncommand = [\"/bin/true\", \"x\"]",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "external", Command: []string{"/bin/true", "x"}}}}},
		"arguments, dynamic_weight": {"type = \"external\"\ncommand = [\"/bin/true\", \"x\"]\narguments = false\ndynamic_weight = true",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "external", Command: []string{"/bin/true", "x"}, Bare: true, Weighs: true}}}},
		"user, limits": {"type = \"external\"\ncommand = [\"/bin/true\"]\nuser = \"root\"\ncpu_limit = \"3s\"\nmemory_limit = 64\nfile_limit = 16",
			Subject{Subject: healthcheck.Subject{Target: real, Schedule: usual, Check: healthcheck.Check{Type: "external", Command: []string{"/bin/true"},
				Confine: healthcheck.Confinement{User: "root", CPU: 3 * time.Second, Memory: 64 << 20, Files: 16}}}}},
	} {
		s, err := build(t, head+"[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"nat\"\n[virtual.check]\n"+test.text+"\n[[virtual.real]]\naddress = \"10.0.0.1:8080\"\n")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := s.Subjects[0]
		got.ID, got.Server = "", ServerID{}
		if diff := cmp.Diff(test.want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{}, ServerID{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestCommandUserKey: commands of checks run as the user of all, or of their own;
// what others could replace, and a user that is not there, is refused.
func TestCommandUserKey(t *testing.T) {
	const service = "[[virtual]]\naddress = \"192.0.2.10:80\"\n%s[[virtual.check]]\ntype = \"external\"\ncommand = [\"/bin/true\"]\n" +
		"[[virtual.check]]\ntype = \"external\"\ncommand = [\"/bin/true\"]\nuser = \"root\"\n[[virtual.real]]\naddress = \"10.0.0.1\"\n%s"
	s, err := build(t, "command_user = \"65534:65534\"\n"+fmt.Sprintf(service, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := s.Subjects[0].Check.Confine.User, s.Subjects[1].Check.Confine.User; a != "65534:65534" || b != "root" {
		t.Errorf("they run as %s and %s", a, b)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(bad, 0o777); err != nil {
		t.Fatal(err)
	}
	key := func(name string) string { return fmt.Sprintf("%s = [%q]\n", name, bad) }
	for want, text := range map[string]string{
		"command_user: user nobody-here: ":                             "command_user = \"nobody-here\"\n" + fmt.Sprintf(service, "", ""),
		"alert: command: ":                                             "[alert]\n" + key("command") + fmt.Sprintf(service, "", ""),
		"virtual 192.0.2.10:80: fallback_command: ":                    fmt.Sprintf(service, key("fallback_command"), ""),
		"virtual 192.0.2.10:80: notify_up: ":                           fmt.Sprintf(service, key("notify_up"), ""),
		"virtual 192.0.2.10:80, real 10.0.0.1:80: notify_down: " + bad: fmt.Sprintf(service, "", key("notify_down")),
	} {
		if _, err := build(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestRealCheckKeys: a server's own keys go before the service's, one by one.
func TestRealCheckKeys(t *testing.T) {
	s, err := build(t, "[[virtual]]\naddress = \"192.0.2.10:80\"\n[virtual.check]\ntype = \"http\"\nrequest = \"/a\"\nreceive = \"x\"\n"+
		"[[virtual.real]]\naddress = \"10.0.0.1\"\n[[virtual.real]]\naddress = \"10.0.0.2\"\ncheck = { request = \"/b\", interval = \"3s\" }\n")
	if err != nil {
		t.Fatal(err)
	}
	one, two := s.Subjects[0], s.Subjects[1]
	if one.Check.Request != "/a" || two.Check.Request != "/b" || two.Check.Receive != "x" || one.Schedule.Interval != 10*time.Second || two.Schedule.Interval != 3*time.Second {
		t.Errorf("%+v\n%+v", one, two)
	}
}

// TestFullNATKeys: what the file says of full NAT is what the engine is told.
func TestFullNATKeys(t *testing.T) {
	s, err := build(t, "[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"fullnat\"\n[virtual.fullnat]\nplane = \"userspace\"\nlocal = [\"198.51.100.1-198.51.100.3\", \"198.51.100.9\"]\n"+
		"proxy_protocol = \"v2\"\ntrusted_peers = [\"10.0.0.0/8\", \"2001:db8::1\"]\nconnect_timeout = \"1s\"\nretries = 4\nmax_connections = 9\ncut_removed = true\n[[virtual.real]]\naddress = \"10.0.0.1\"\n")
	if err != nil {
		t.Fatal(err)
	}
	want := &fullnat.Options{ConnectTimeout: time.Second, Retries: 4, MaxConns: 9, CutRemoved: true}
	want.TrustedPeers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}
	for _, a := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.9"} {
		want.Locals = append(want.Locals, netip.MustParseAddr(a))
	}
	if err := want.ProxyProtocol.UnmarshalText([]byte("v2")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.Services[0].Proxy, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s, err = build(t, "[[virtual]]\naddress = \"192.0.2.10:53\"\nprotocol = \"udp\"\nforward = \"fullnat\"\n[virtual.fullnat]\n"+
		"proxy_protocol = \"v2-every\"\n[[virtual.real]]\naddress = \"10.0.0.1\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Services[0].Proxy.ProxyProtocol; got != fullnat.ProxyV2Every {
		t.Errorf("PROXY header %q, want v2-every", got)
	}
}

// TestServerName: TLS asks for the name that a real server is given by, unless the
// check has a name or goes elsewhere.
func TestServerName(t *testing.T) {
	for check, want := range map[string]string{
		`type = "https"`: "www1.test",
		"type = \"https\"\nvirtualhost = \"www.test\"":    "",
		"type = \"https\"\nserver_name = \"tls.test\"":    "tls.test",
		"type = \"https\"\naddress = \"10.0.0.9\"":        "",
		"type = \"smtp\"\ntls = \"starttls\"":             "www1.test",
		`type = "smtp"`:                                   "",
		"type = \"http_proxy\"\nrequest = \"https://x/\"": "",
	} {
		c, err := config.Parse("goipvs.toml", []byte("[[virtual]]\naddress = \"192.0.2.10:80\"\nforward = \"nat\"\n[virtual.check]\n"+check+
			"\n[[virtual.real]]\naddress = \"www1.test:8080\"\n"), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, _ = c.Bind(func(config.Host) (netip.Addr, bool) { return netip.MustParseAddr("10.0.0.1"), true })
		s, err := Build(c, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Subjects[0].Check.TLS.ServerName; got != want {
			t.Errorf("%s: %q, want %q", check, got, want)
		}
	}
}
