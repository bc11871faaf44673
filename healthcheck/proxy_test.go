package healthcheck

import (
	"fmt"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

// TestTinyproxy: a proxy is up when it fetches, or connects to, what is asked.
func TestTinyproxy(t *testing.T) {
	testserver.Need(t, "tinyproxy-bin")
	n := startNginx(t)
	port := testserver.Port(t)
	dir := testserver.Dir(t, nil)
	testserver.Write(t, dir+"/conf", fmt.Sprintf(`
Port %d
Listen 127.0.0.1
Timeout 10
MaxClients 10
LogLevel Error
ConnectPort %d
ConnectPort %d
BasicAuth monitor s3cret
`, port, n.secure, n.down))
	p := testserver.Start(t, testserver.Program{Path: "tinyproxy", Args: []string{"-d", "-c", dir + "/conf"}})
	p.AwaitPort(port)
	in := Check{Type: "http_proxy", Login: "monitor", Password: "s3cret"}
	url := func(scheme string, to uint16, path string) string {
		return fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, to, path)
	}
	with := func(change func(*Check)) Check {
		c := in
		change(&c)
		return c
	}
	for _, s := range []state{
		{name: "fetches", check: with(func(c *Check) {
			c.Request, c.Receive = url("http", n.plain, "/health"), "OK"
		})},
		{name: "fetches what is not there", check: with(func(c *Check) { c.Request = url("http", n.plain, "/nothing") }), want: "status 404"},
		{name: "server behind is down", check: with(func(c *Check) { c.Request = url("http", n.down, "/") }), want: "status 500"},
		{name: "connects", check: with(func(c *Check) { c.Request = fmt.Sprintf("127.0.0.1:%d", n.secure) })},
		{name: "connects to what is down", check: with(func(c *Check) { c.Request = fmt.Sprintf("127.0.0.1:%d", n.down) }), want: "status 500"},
		{name: "may not connect", check: with(func(c *Check) { c.Request = fmt.Sprintf("127.0.0.1:%d", n.plain) }), want: "status 403"},
		{name: "https beyond", check: with(func(c *Check) {
			c.Request, c.VirtualHost, c.Receive, c.TLS = url("https", n.secure, "/host"), "web.example", "^host=web.example$", TLS{ServerName: "web.example", CAFile: n.ca.File}
		})},
		{name: "https beyond, wrong name", check: with(func(c *Check) {
			c.Request, c.TLS = url("https", n.secure, "/health"), TLS{ServerName: "other.example", CAFile: n.ca.File}
		}), want: "not other.example"},
		{name: "wrong password", check: with(func(c *Check) { c.Request, c.Password = url("http", n.plain, "/"), "wr0ng" }), want: "status 401"},
		{name: "no login", check: Check{Type: "http_proxy", Request: fmt.Sprintf("127.0.0.1:%d", n.secure)}, want: "status 407"},
	} {
		s.port = port
		s.test(t)
	}
	p.Stop()
	state{name: "down", check: with(func(c *Check) { c.Request = "127.0.0.1:1" }), port: port, want: "connection refused"}.test(t)
}
