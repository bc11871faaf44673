package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// TestTrustedPeers: the header of a proxy that the file trusts is passed on, in
// the version that the file asks for; when a reload trusts it no longer, or
// another, the real server hears who has connected, and the header is data.
func TestTrustedPeers(t *testing.T) {
	if c, err := ipvs.Dial(ipvs.Options{}); err == nil {
		c.Close()
		t.Skip("this machine has IPVS")
	}
	r := &rig{T: t, dir: t.TempDir(), log: &buffer{}, patience: patience}
	t.Cleanup(r.kill)
	vip := freeAddress(r)
	rs, err := net.Listen("tcp", freeAddress(r))
	r.must(err)
	t.Cleanup(func() { rs.Close() })
	file := func(trusted string) {
		r.Helper()
		r.file(fmt.Sprintf("without_ipvs = \"fullnat\"\nunchecked = \"up\"\n[[virtual]]\nname = \"web\"\naddress = %q\nforward = \"fullnat\"\n[virtual.fullnat]\n"+
			"proxy_protocol = \"v2\"\n%s[virtual.check]\ntype = \"on\"\n[[virtual.real]]\naddress = %q\n", vip, trusted, rs.Addr()))
	}
	client, virtual := netip.MustParseAddrPort("192.0.2.1:4711"), netip.MustParseAddrPort("198.51.100.2:80")
	told := string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV1, ipvs.TCP, client, virtual))
	hears := func(when string, believes bool) {
		t.Helper()
		c, err := net.DialTimeout("tcp", vip, patience)
		r.must(err)
		defer c.Close()
		r.must(c.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(c, told+"data")
		r.must(err)
		r.must(c.(*net.TCPConn).CloseWrite())
		s, err := rs.Accept()
		r.must(err)
		defer s.Close()
		r.must(s.SetDeadline(time.Now().Add(patience)))
		got, err := io.ReadAll(s)
		r.must(err)
		own, at := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
		want := string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.TCP, own, at)) + told + "data"
		if believes {
			want = string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.TCP, client, virtual)) + "data"
		}
		if string(got) != want {
			t.Errorf("%s the server got %q, want %q", when, got, want)
		}
	}
	file("trusted_peers = [\"127.0.0.0/8\"]\n")
	r.start()
	r.await("the server is in", func() bool { return r.server(rs.Addr().String()).Place == "in" })
	hears("trusted", true)
	for _, step := range []struct {
		when, trusted string
		believes      bool
	}{{"not trusted", "", false}, {"another is trusted", "trusted_peers = [\"192.0.2.1\"]\n", false}, {"trusted again", "trusted_peers = [\"192.0.2.1\", \"127.0.0.1\"]\n", true}} {
		file(step.trusted)
		r.ok("reload")
		hears(step.when, step.believes)
	}
}
