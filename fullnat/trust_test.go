package fullnat_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs"
)

var (
	theClient  = netip.MustParseAddrPort("192.0.2.1:4711")
	theVirtual = netip.MustParseAddrPort("198.51.100.2:80")
	v1Header   = string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV1, ipvs.TCP, theClient, theVirtual))
	v2Header   = string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.TCP, theClient, theVirtual))
	// with an extension, as HAProxy and others add them
	v2Extended = v2Header[:15] + "\x11" + v2Header[16:] + "\x04\x00\x02\x00\x00"
)

// Real servers hear of the client that a trusted proxy tells of, in the version
// they want, and of anybody else's what is true.
func TestTrustedPeers(t *testing.T) {
	anybody, nobody := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, test := range []struct {
		name    string
		version fullnat.ProxyProtocol
		trusted []netip.Prefix
		sent    []string // with pauses between
		want    string   // %OWN is the header about the connection itself
	}{
		{"kept", fullnat.ProxyV1, anybody, []string{v1Header + "data"}, v1Header + "data"},
		{"kept with extensions", fullnat.ProxyV2, anybody, []string{v2Extended + "data"}, v2Extended + "data"},
		{"v1 to v2", fullnat.ProxyV2, anybody, []string{v1Header, "data"}, v2Header + "data"},
		{"v2 to v1", fullnat.ProxyV1, anybody, []string{v2Extended, "data"}, v1Header + "data"},
		{"in pieces", fullnat.ProxyV1, anybody, []string{v2Header[:3], v2Header[3:20], v2Header[20:] + "da", "ta"}, v1Header + "data"},
		{"for itself", fullnat.ProxyV2, anybody, []string{"PROXY UNKNOWN\r\ndata"}, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00data"},
		{"without", fullnat.ProxyV1, anybody, []string{"GET / HTTP/1.1\r\n"}, "%OWNGET / HTTP/1.1\r\n"},
		{"the beginning of one, and the end", fullnat.ProxyV1, anybody, []string{"PRO"}, "%OWNPRO"},
		{"not trusted", fullnat.ProxyV1, nobody, []string{v1Header + "data"}, "%OWN" + v1Header + "data"},
		{"no header wanted", fullnat.NoProxy, anybody, []string{v1Header + "data"}, v1Header + "data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, c, rs := through(t, fullnat.Options{ProxyProtocol: test.version, TrustedPeers: test.trusted})
			for i, part := range test.sent {
				if i > 0 {
					time.Sleep(20 * time.Millisecond) // so that pieces are pieces; when not, the result is the same
				}
				say(t, c, part)
			}
			c.CloseWrite()
			from, to := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
			want := strings.Replace(test.want, "%OWN", string(fullnat.AppendProxyHeader(nil, test.version, ipvs.TCP, from, to)), 1)
			got, err := io.ReadAll(rs)
			if string(got) != want || err != nil {
				t.Errorf("the server got %q, %v, want %q", got, err, want)
			}
			say(t, rs, "answer")
			hear(t, c, "answer")
			rs.Close()
			hearEnd(t, c, io.EOF)
		})
	}
}

// A trusted peer that says nothing has the time to connect for its header; the
// server that speaks first then does.
func TestTrustedPeerWithoutHeader(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{ProxyProtocol: fullnat.ProxyV1, TrustedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	e.Skew(10 * time.Second)
	from, to := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	hear(t, rs, string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV1, ipvs.TCP, from, to)))
	say(t, rs, "220 ready")
	hear(t, c, "220 ready")
	say(t, c, v1Header) // late: data
	hear(t, rs, v1Header)
	e.Skew(10 * time.Minute)
	say(t, c, "HELO")
	hear(t, rs, "HELO")
}

func TestTrustedPeerBrokenHeader(t *testing.T) {
	for _, text := range []string{"PROXY TCP4 a b c d\r\n", "PROXY TCP4 " + strings.Repeat("1", 200), v2Header[:12] + "\x31" + v2Header[13:]} {
		e, c, _ := through(t, fullnat.Options{ProxyProtocol: fullnat.ProxyV2, TrustedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		say(t, c, text)
		hearEnd(t, c, syscall.ECONNRESET)
		eventually(t, "it ends", func() bool { return e.Conns() == 0 })
	}
}

func TestTrustedPeerUDP(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("got "))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", a)
	s.Options = fullnat.Options{ProxyProtocol: fullnat.ProxyV2, TrustedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	apply(t, e, s)
	head := string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.UDP, theClient, theVirtual))
	if got, want := query(t, udpClient(t, s.Addr), head+"data"), "got "+head+"data"; got != want {
		t.Errorf("the server got %q, want %q", got, want)
	}
	c := udpClient(t, s.Addr)
	own := string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.UDP, c.LocalAddr().(*net.UDPAddr).AddrPort(), s.Addr))
	if got, want := query(t, c, "data"), "got "+own+"data"; got != want {
		t.Errorf("the server got %q, want %q", got, want)
	}
	s.Options.ProxyProtocol = fullnat.ProxyV2Every
	apply(t, e, s)
	for _, text := range []string{head, own, head} { // the peer leaves some without one
		if got, want := query(t, c, strings.TrimPrefix(text, own)+"data"), "got "+text+"data"; got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
}

const haproxyInFront = `
global
	maxconn 100
defaults
	mode tcp
	timeout client 30s
	timeout server 30s
	timeout connect 5s
frontend f
	bind %s
	default_backend b
backend b
	server s %s %s
`

// HAProxy's headers are read as it means them: the server sees HAProxy's client.
func TestTrustedHAProxy(t *testing.T) {
	testserver.Need(t, "haproxy")
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) {
		b := make([]byte, 200)
		k, _ := c.Read(b)
		c.Write(b[:k])
	})
	for _, word := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(word, func(t *testing.T) {
			e := start(t, fullnat.Config{Loops: 2})
			s := tcpService(t, n.addr(1), "rr", rs)
			s.Options = fullnat.Options{ProxyProtocol: fullnat.ProxyV1, TrustedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
			apply(t, e, s)
			front := freePort(t, "tcp", n.addr(21))
			dir := testserver.Dir(t, map[string]string{"haproxy.cfg": fmt.Sprintf(haproxyInFront, front, s.Addr, word)})
			testserver.Start(t, testserver.Program{Path: "haproxy", Args: []string{"-db", "-f", dir + "/haproxy.cfg"}})
			await(t, front)
			c := dial(t, front)
			from := c.LocalAddr().(*net.TCPAddr).AddrPort()
			hear(t, c, fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", from.Addr(), front.Addr(), from.Port(), front.Port()))
		})
	}
}

func TestParseProxyHeader(t *testing.T) {
	for _, test := range []struct {
		text string
		want fullnat.ProxyHeader
		err  error
	}{
		{text: v1Header + "x", want: fullnat.ProxyHeader{Version: fullnat.ProxyV1, Length: len(v1Header), Protocol: ipvs.TCP, Client: theClient, Virtual: theVirtual}},
		{text: v2Extended + "x", want: fullnat.ProxyHeader{Version: fullnat.ProxyV2, Length: len(v2Extended), Protocol: ipvs.TCP, Client: theClient, Virtual: theVirtual}},
		{text: "PROXY UNKNOWN ffff::1 x\r\n", want: fullnat.ProxyHeader{Version: fullnat.ProxyV1, Length: 25, Protocol: ipvs.TCP}},
		{text: "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\x00", want: fullnat.ProxyHeader{Version: fullnat.ProxyV2, Length: 16, Protocol: ipvs.TCP}},
		{text: "", err: fullnat.ErrShortHeader},
		{text: "PROX", err: fullnat.ErrShortHeader},
		{text: "PROXY TCP4 1.2.3.4", err: fullnat.ErrShortHeader},
		{text: v2Header[:12], err: fullnat.ErrShortHeader},
		{text: v2Header[:20], err: fullnat.ErrShortHeader},
		{text: "proxy ", err: fullnat.ErrNoHeader},
		{text: "\r\n\r\nx", err: fullnat.ErrNoHeader},
		{text: "PROXY TCP4 ::1 ::1 1 2\r\n", err: fullnat.ErrBrokenHeader},
		{text: "PROXY TCP6 ::1%lo ::1 1 2\r\n", err: fullnat.ErrBrokenHeader},
		{text: "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", err: fullnat.ErrBrokenHeader},
		{text: "PROXY  TCP4\r\n", err: fullnat.ErrBrokenHeader},
		{text: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0b12345678901", err: fullnat.ErrBrokenHeader},
		{text: "\r\n\r\n\x00\r\nQUIT\n\x21\x41\x00\x00", err: fullnat.ErrBrokenHeader},
	} {
		got, err := fullnat.ParseProxyHeader([]byte(test.text))
		if d := cmp.Diff(test.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" || !errors.Is(err, test.err) {
			t.Errorf("%q: error %v, want %v; -want +got\n%s", test.text, err, test.err, d)
		}
	}
}

// What is read and written again is read as the same; what is cut short asks for
// more, or is none.
func FuzzProxyHeader(f *testing.F) {
	for _, text := range []string{v1Header, v2Extended, "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::2 1 2\r\n", v2Header[:15], "GET /"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := fullnat.ParseProxyHeader(b)
		if err != nil {
			return
		}
		if h.Length > len(b) {
			t.Fatalf("%d of %d bytes", h.Length, len(b))
		}
		for n := range h.Length {
			if _, err := fullnat.ParseProxyHeader(b[:n]); !errors.Is(err, fullnat.ErrShortHeader) {
				t.Fatalf("%d of %d bytes: %v", n, h.Length, err)
			}
		}
		for _, v := range []fullnat.ProxyProtocol{fullnat.ProxyV1, fullnat.ProxyV2} {
			text := h.AppendAs(nil, v)
			again, err := fullnat.ParseProxyHeader(append(bytes.Clone(text), "data"...))
			if err != nil || again.Client != h.Client || again.Virtual != h.Virtual || again.Length != len(text) {
				t.Fatalf("%s %q is read as %+v, %v; it was %+v", v, text, again, err, h)
			}
		}
	})
}

// A trusted peer may go before its header has come.
func TestTrustedPeerResets(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{ProxyProtocol: fullnat.ProxyV1, TrustedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	c.SetLinger(0)
	c.Close()
	if got, err := io.ReadAll(rs); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server got %q, %v", got, err)
	}
	eventually(t, "it is over", func() bool { return e.Conns() == 0 })
}
