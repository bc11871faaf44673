package fullnat_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs"
)

const haproxyConfig = `
global
	maxconn 100
defaults
	mode http
	timeout client 30s
	timeout server 30s
	timeout connect 5s
frontend f
	bind %s accept-proxy
	http-request return status 200 content-type text/plain lf-string "%%[src] %%[src_port] %%[dst] %%[dst_port]"
`

const nginxConfig = `
daemon off;
pid nginx.pid;
error_log stderr;
events { }
http {
	access_log off;
	client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
	server {
		listen %s proxy_protocol;
		location / {
			return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
		}
	}
}
`

// The real ones read our headers: what they say of the client is what it is.
func TestProxyHeadersByReceivers(t *testing.T) {
	testserver.Need(t, "haproxy", "nginx-light")
	n := newNetwork()
	receivers := map[string]netip.AddrPort{
		"haproxy": freePort(t, "tcp", n.addr(11)),
		"nginx":   freePort(t, "tcp", n.addr(12)),
	}
	dir := testserver.Dir(t, map[string]string{"haproxy.cfg": fmt.Sprintf(haproxyConfig, receivers["haproxy"])})
	testserver.Start(t, testserver.Program{Path: "haproxy", Args: []string{"-db", "-f", dir + "/haproxy.cfg"}})
	dir = testserver.Dir(t, map[string]string{"nginx.conf": fmt.Sprintf(nginxConfig, receivers["nginx"])})
	testserver.Start(t, testserver.Program{Path: "nginx", Args: []string{"-p", dir, "-c", "nginx.conf"}})
	e := start(t, fullnat.Config{Loops: 2})
	for name, at := range receivers {
		await(t, at)
		for _, v := range []fullnat.ProxyProtocol{fullnat.ProxyV1, fullnat.ProxyV2} {
			for _, vip := range []netip.Addr{n.addr(1), netip.IPv6Loopback()} {
				t.Run(fmt.Sprint(name, " ", v, " ", vip), func(t *testing.T) {
					s := tcpService(t, vip, "rr", &server{addr: at})
					s.Options = fullnat.Options{ProxyProtocol: v, Locals: n.locals(2)}
					apply(t, e, s)
					checkReceiver(t, s)
				})
			}
		}
	}
}

func await(t *testing.T, at netip.AddrPort) {
	t.Helper()
	eventually(t, at.String()+" listens", func() bool {
		c, err := net.Dial("tcp", at.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// checkReceiver asks with the request sent at once, and with one sent late:
// then the header goes alone.
func checkReceiver(t *testing.T, s fullnat.Service) {
	for _, late := range []time.Duration{0, 50 * time.Millisecond} {
		c := dial(t, s.Addr)
		time.Sleep(late) // so that the header goes alone; when not, the result is the same
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		from := c.LocalAddr().(*net.TCPAddr).AddrPort()
		want := fmt.Sprintf("%s %d %s %d", from.Addr(), from.Port(), s.Addr.Addr(), s.Addr.Port())
		if string(got) != want || err != nil {
			t.Errorf("the receiver says %q, %v, want %q", got, err, want)
		}
	}
}

// A server that speaks first may wait for the header before it does.
func TestHeaderComesAlone(t *testing.T) {
	_, c, rs := through(t, fullnat.Options{ProxyProtocol: fullnat.ProxyV1})
	a := c.LocalAddr().(*net.TCPAddr).AddrPort()
	v := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	hear(t, rs, fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", a.Addr(), v.Addr(), a.Port(), v.Port()))
	say(t, rs, "220 ready")
	hear(t, c, "220 ready")
	say(t, c, "HELO")
	hear(t, rs, "HELO")
	c.CloseWrite()
	hearEnd(t, rs, io.EOF)
}

// All that a client has sent before its server was there comes behind the header.
func TestHeaderWithMuch(t *testing.T) {
	n := newNetwork()
	fd, at := listenRaw(t, n.addr(11), 1)
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", &server{addr: at})
	s.Options.ProxyProtocol = fullnat.ProxyV1
	apply(t, e, s)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	var c *net.TCPConn
	e.AsConnected(func() {
		c = dial(t, s.Addr)
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
	}, func() {})
	c.CloseWrite()
	a, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	rs := os.NewFile(uintptr(a), "server")
	defer rs.Close()
	got, err := io.ReadAll(rs)
	from, to := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	want := append(fullnat.AppendProxyHeader(nil, fullnat.ProxyV1, ipvs.TCP, from, to), sent...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, want %d: %.60q", len(got), err, len(want), got)
	}
	if i := e.Services()[0].Stats; i.InBytes != uint64(len(sent)) { // the header is none of the client's
		t.Errorf("%d bytes counted, want %d", i.InBytes, len(sent))
	}
}

// Of a client that has gone before its server was there the server hears nothing
// but the end.
func TestHeaderOfNobody(t *testing.T) {
	n := newNetwork()
	fd, at := listenRaw(t, n.addr(11), 1)
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", &server{addr: at})
	s.Options.ProxyProtocol = fullnat.ProxyV1
	apply(t, e, s)
	var c *net.TCPConn
	e.AsConnected(func() { c = dial(t, s.Addr) }, func() {
		c.SetLinger(0)
		c.Close()
	})
	eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	syscall.SetNonblock(fd, true)
	if a, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC); err == nil { // some kernels take it from the queue
		defer syscall.Close(a)
		b := make([]byte, 200)
		if n, err := syscall.Read(a, b); n > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server got %q, %v, want a reset", b[:max(n, 0)], err)
		}
	}
}

func TestAppendProxyHeader(t *testing.T) {
	client4, virtual4 := netip.MustParseAddrPort("192.0.2.1:65535"), netip.MustParseAddrPort("198.51.100.2:80")
	client6, virtual6 := netip.MustParseAddrPort("[fe80::1%eth0]:1"), netip.MustParseAddrPort("[2001:db8::2]:443")
	const signature = "\r\n\r\n\x00\r\nQUIT\n"
	for _, test := range []struct {
		version         fullnat.ProxyProtocol
		protocol        ipvs.Protocol
		client, virtual netip.AddrPort
		want            string
	}{
		{fullnat.NoProxy, ipvs.TCP, client4, virtual4, ""},
		{fullnat.ProxyV1, ipvs.TCP, client4, virtual4, "PROXY TCP4 192.0.2.1 198.51.100.2 65535 80\r\n"},
		{fullnat.ProxyV1, ipvs.TCP, client6, virtual6, "PROXY TCP6 fe80::1 2001:db8::2 1 443\r\n"},
		{fullnat.ProxyV2, ipvs.TCP, client4, virtual4, signature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\xff\xff\x00\x50"},
		{fullnat.ProxyV2, ipvs.UDP, client4, virtual4, signature + "\x21\x12\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\xff\xff\x00\x50"},
		{fullnat.ProxyV2, ipvs.UDP, client6, virtual6, signature + "\x21\x22\x00\x24" +
			"\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x01\x01\xbb"},
	} {
		if got := string(fullnat.AppendProxyHeader(nil, test.version, test.protocol, test.client, test.virtual)); got != test.want {
			t.Errorf("%s %s from %s to %s: %q, want %q", test.version, test.protocol, test.client, test.virtual, got, test.want)
		}
	}
}
