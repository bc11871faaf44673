package healthcheck

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

// nginx is the real server for HTTP and TLS.
type nginx struct {
	process                                                               *testserver.Process
	ca                                                                    *testserver.Authority
	plain, prior, secure, expired, wrongName, foreign, mutual, soon, down uint16
	client                                                                testserver.Certificate
}

func startNginx(t *testing.T) *nginx {
	testserver.Need(t, "nginx-light")
	n := &nginx{ca: testserver.NewAuthority(t), down: testserver.Port(t)}
	n.client = n.ca.Issue(t, time.Time{}, "client.example")
	dir := testserver.Dir(t, map[string]string{
		"www/index.html": "welcome\n", "www/health": "OK 42\n", "www/big": strings.Repeat("0123456789abcdef", 1<<16) + "end",
		"htpasswd": "monitor:{PLAIN}s3cret\n",
	})
	var servers strings.Builder
	listen := func(port *uint16, how, more string) {
		*port = testserver.Port(t)
		fmt.Fprintf(&servers, "server { listen 127.0.0.1:%d %s; server_name web.example 127.0.0.1; root %s/www; %s %s }\n", *port, how, dir, locations(dir), more)
	}
	listen(&n.plain, "", "")
	listen(&n.prior, "http2", "")
	listen(&n.secure, "ssl http2", n.cert(t, n.ca, time.Time{}, "web.example"))
	listen(&n.expired, "ssl http2", n.cert(t, n.ca, time.Now().Add(-time.Hour), "web.example"))
	listen(&n.soon, "ssl http2", n.cert(t, n.ca, time.Now().Add(24*time.Hour), "web.example"))
	listen(&n.wrongName, "ssl http2", n.cert(t, n.ca, time.Time{}, "other.example"))
	listen(&n.foreign, "ssl http2", n.cert(t, testserver.NewAuthority(t), time.Time{}, "web.example"))
	listen(&n.mutual, "ssl http2", n.cert(t, n.ca, time.Time{}, "web.example")+
		"ssl_verify_client on; ssl_client_certificate "+n.ca.File+";")
	testserver.Write(t, dir+"/nginx.conf", fmt.Sprintf(`
daemon off; user root; worker_processes 1; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	server { listen 127.0.0.1:%[2]d default_server; return 421; }
	%[3]s
}`, dir, n.plain, servers.String()))
	n.process = testserver.Start(t, testserver.Program{Path: "nginx", Args: []string{"-e", "stderr", "-p", dir, "-c", dir + "/nginx.conf"}})
	n.process.AwaitPort(n.plain)
	return n
}

func (n *nginx) cert(t *testing.T, by *testserver.Authority, until time.Time, name string) string {
	c := by.Issue(t, until, name)
	return fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", c.CertFile, c.KeyFile)
}

func locations(dir string) string {
	return `location = /sick { return 503; } location = /moved { return 302 /health; } location = /away { return 302 http://198.51.100.1/; }
		location = /loop { return 302 /loop; } location = /hop { return 302 /moved; } location = /empty { return 204; }
		location = /private { auth_basic x; auth_basic_user_file ` + dir + `/htpasswd; try_files /health =404; }
		location = /host { return 200 "host=$http_host"; }`
}

// TestNginxHTTP: what counts as up over HTTP/1.1 and HTTP/2, with and without TLS.
func TestNginxHTTP(t *testing.T) {
	n := startNginx(t)
	trust := TLS{CAFile: n.ca.File}
	for _, via := range []struct {
		kind string
		port uint16
		tls  TLS
	}{{"http", n.plain, TLS{}}, {"https", n.secure, trust}, {"http2", n.secure, trust}} {
		for _, s := range []state{
			{name: "up", check: Check{}},
			{name: "page", check: Check{Request: "health", Receive: `^OK \d+`}},
			{name: "sum of a page", check: Check{Request: "/health", Receive: "md5:9c05e1df1453e08f766687c3ec808804"}},
			{name: "wrong sum", check: Check{Request: "/", Receive: "md5:9c05e1df1453e08f766687c3ec808804"}, want: `does not match "md5:`},
			{name: "wrong page", check: Check{Request: "/health", Receive: "BAD"}, want: `does not match "BAD": "OK 42`},
			{name: "match at the end of a page that is too long", check: Check{Request: "/big", Receive: "end"}, want: "does not match"},
			{name: "match at the start of a long page", check: Check{Request: "/big", Receive: "^0123"}},
			{name: "status", check: Check{Request: "/sick"}, want: "status 503"},
			{name: "status that is wanted", check: Check{Request: "/sick", Status: "200,500-599"}},
			{name: "no content", check: Check{Request: "/empty", Status: "204"}},
			{name: "not there", check: Check{Request: "/nothing"}, want: "status 404"},
			{name: "head", check: Check{Method: "HEAD", Request: "/health"}},
			{name: "redirect not followed", check: Check{Request: "/moved"}, want: "status 302"},
			{name: "redirect wanted", check: Check{Request: "/moved", Status: "302", Follow: 1}},
			{name: "redirect followed", check: Check{Request: "/hop", Follow: 2, Receive: "OK"}},
			{name: "redirects over the limit", check: Check{Request: "/hop", Follow: 1}, want: "status 302"},
			{name: "redirect loop", check: Check{Request: "/loop", Follow: 3}, want: "status 302"},
			{name: "redirect away", check: Check{Request: "/away", Follow: 3}, want: "not on this server"},
			{name: "no login", check: Check{Request: "/private"}, want: "status 401"},
			{name: "login", check: Check{Request: "/private", Login: "monitor", Password: "s3cret"}},
			{name: "wrong password", check: Check{Request: "/private", Login: "monitor", Password: "wr0ng"}, want: "status 401"},
			{name: "virtual host", check: Check{Request: "/host", Receive: "host=web.example$"}},
		} {
			s.check.Type, s.check.VirtualHost, s.check.TLS, s.port = via.kind, "web.example", via.tls, via.port
			s.test(t)
		}
	}
	state{name: "unknown host", check: Check{Type: "http", VirtualHost: "other.example"}, port: n.plain, want: "status 421"}.test(t)
	state{name: "down", check: Check{Type: "http"}, port: n.down, want: "connection refused"}.test(t)
	state{name: "http to a TLS port", check: Check{Type: "http"}, port: n.secure, want: "status 400"}.test(t)
	state{name: "prior knowledge", check: Check{Type: "http2", TLS: TLS{Mode: "off"}, Request: "/health", Receive: "OK"}, port: n.prior}.test(t)
	state{name: "HTTP/1.1 to HTTP/2", check: Check{Type: "http"}, port: n.prior, want: "no HTTP answer: the server speaks HTTP/2"}.test(t)
	state{name: "no HTTP/2 there", check: Check{Type: "http2", TLS: TLS{Mode: "off"}}, port: n.plain, want: "http2: the server answers in HTTP/1"}.test(t)
}

// TestNginxTLS: how certificates are judged, by every type that begins with TLS.
func TestNginxTLS(t *testing.T) {
	n := startNginx(t)
	trust := TLS{ServerName: "web.example", CAFile: n.ca.File}
	with := func(change func(*TLS)) TLS {
		tls := trust
		change(&tls)
		return tls
	}
	known := with(func(o *TLS) { o.CertFile, o.KeyFile = n.client.CertFile, n.client.KeyFile })
	oneFile := with(func(o *TLS) { o.CertFile = n.client.Both })
	for _, check := range []Check{{Type: "https"}, {Type: "http2"}, {Type: "tcp", TLS: TLS{Mode: "on"}}} {
		for _, s := range []struct {
			state
			tls TLS
		}{
			{state{name: "trusted", port: n.secure}, trust},
			{state{name: "system's authorities", port: n.secure, want: "unknown authority"}, with(func(o *TLS) { o.CAFile = "" })},
			{state{name: "other authority", port: n.foreign, want: "unknown authority"}, trust},
			{state{name: "any certificate", port: n.foreign}, TLS{Insecure: true}},
			{state{name: "wrong name", port: n.wrongName, want: "valid for other.example, not web.example"}, trust},
			{state{name: "no name", port: n.secure, want: "127.0.0.1"}, with(func(o *TLS) { o.ServerName = "" })},
			{state{name: "expired", port: n.expired, want: "expired"}, trust},
			{state{name: "expires soon", port: n.soon, warn: "the certificate expires on"}, trust},
			{state{name: "expires soon, and nobody cares", port: n.soon}, with(func(o *TLS) { o.Warn = -1 })},
			{state{name: "expires in a year, which is soon", port: n.secure, warn: "expires"}, with(func(o *TLS) { o.Warn = 10000 * time.Hour })},
			{state{name: "client certificate", port: n.mutual}, known},
			{state{name: "client certificate and key in one file", port: n.mutual}, oneFile},
			{state{name: "not TLS", port: n.plain, want: "TLS"}, trust},
			{state{name: "down", port: n.down, want: "connection refused"}, trust},
		} {
			s.check, s.tls.Mode = check, check.TLS.Mode
			s.check.TLS = s.tls
			s.test(t)
		}
	}
	state{name: "no client certificate", check: Check{Type: "https", TLS: trust}, port: n.mutual, want: "status 400"}.test(t)
}

// TestNginxDies: a server that is killed is down at once, and one that is
// stopped, so that it accepts and never answers, is down at the deadline.
func TestNginxDies(t *testing.T) {
	t.Parallel()
	n := startNginx(t)
	probe, err := New(Check{Type: "http", VirtualHost: "web.example"}, loopback(n.plain))
	if err != nil {
		t.Fatal(err)
	}
	if err := probe(within(t, patient)); err != nil {
		t.Fatal(err)
	}
	n.process.Freeze()
	if err := probe(within(t, time.Second)); Class(err) != "timeout" {
		t.Errorf("a server that is stopped: %v", err)
	}
	n.process.Stop()
	if err := probe(within(t, patient)); Class(err) != "refused" {
		t.Errorf("a server that is dead: %v", err)
	}
}
