package healthcheck

import (
	"fmt"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

// TestHAProxy: another server's HTTP and TLS, with answers of its own and of a
// server behind it that dies.
func TestHAProxy(t *testing.T) {
	testserver.Need(t, "haproxy")
	n := startNginx(t)
	ca := testserver.NewAuthority(t)
	cert := ca.Issue(t, time.Time{}, "web.example", "127.0.0.1")
	plain, secure, mail := testserver.Port(t), testserver.Port(t), testserver.Port(t)
	dir := testserver.Dir(t, nil)
	testserver.Write(t, dir+"/haproxy.cfg", fmt.Sprintf(`
global
	nbthread 1
defaults
	mode http
	timeout connect 30s
	timeout client 30s
	timeout server 30s
	retries 0
frontend plain
	bind 127.0.0.1:%d proto h2
	default_backend web
frontend secure
	bind 127.0.0.1:%d ssl crt %s alpn h2,http/1.1
	http-request return status 200 content-type text/plain string "alive" if { path /alive }
	default_backend web
frontend raw
	mode tcp
	bind 127.0.0.1:%d
	tcp-request inspect-delay 30s
	tcp-request content reject if { req.payload(0,4) -m str "QUIT" }
	default_backend raw
backend raw
	mode tcp
	server a 127.0.0.1:%d
backend web
	server a 127.0.0.1:%d
`, plain, secure, cert.Both, mail, n.plain, n.plain))
	h := testserver.Start(t, testserver.Program{Path: "haproxy", Args: []string{"-db", "-f", dir + "/haproxy.cfg"}})
	h.AwaitPort(secure)
	trust := TLS{CAFile: ca.File}
	states := []state{
		{name: "up", check: Check{Type: "https", TLS: trust, Request: "/health", Receive: "OK", VirtualHost: "web.example"}, port: secure},
		{name: "certificate of an address", check: Check{Type: "https", TLS: trust, Request: "/alive", Receive: "^alive$"}, port: secure},
		{name: "up", check: Check{Type: "http2", TLS: trust, Request: "/health", Receive: "OK", VirtualHost: "web.example"}, port: secure},
		{name: "prior knowledge", check: Check{Type: "http2", TLS: TLS{Mode: "off"}, Request: "/health", Receive: "OK", VirtualHost: "web.example"}, port: plain},
		{name: "HTTP/1.1 to HTTP/2", check: Check{Type: "http"}, port: plain, want: "no HTTP answer"},
		{name: "forwarded", check: Check{Type: "tcp", Request: "GET /health HTTP/1.0\r\nHost: web.example\r\n\r\n", Receive: `(?s)200 OK.*OK 42\n$`}, port: mail},
		{name: "closes", check: Check{Type: "tcp", Request: "QUIT\r\n", Receive: "."}, port: mail, want: "no answer: the server closed the connection"},
	}
	for _, s := range states {
		s.test(t)
	}
	n.process.Stop()
	for _, s := range states[:4] {
		if s.check.Request == "/health" {
			s.name, s.want = s.name+", and then the server behind dies", "status 503"
			s.test(t)
		}
	}
}
