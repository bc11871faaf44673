package healthcheck

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

func addrOf(s string) net.Addr {
	a, err := net.ResolveUDPAddr("udp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// startKamailio runs a SIP proxy that answers OPTIONS, and 503 to user busy.
func startKamailio(t *testing.T, cert testserver.Certificate) (plain, tls uint16) {
	plain, tls = testserver.Port(t), testserver.Port(t)
	dir := testserver.Dir(t, map[string]string{"run/.keep": ""})
	profile := fmt.Sprintf("method = TLSv1.2+\ncertificate = %s\nprivate_key = %s\n", cert.CertFile, cert.KeyFile)
	testserver.Write(t, dir+"/tls.cfg", "[server:default]\n"+profile+"[client:default]\nverify_certificate = no\n")
	testserver.Write(t, dir+"/kamailio.cfg", fmt.Sprintf(`
debug=0
log_stderror=yes
fork=yes
children=1
tcp_children=2
enable_tls=yes
auto_aliases=no
listen=udp:127.0.0.1:%[2]d
listen=tcp:127.0.0.1:%[2]d
listen=tls:127.0.0.1:%[3]d
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "tls.so"
modparam("tls", "config", "%[1]s/tls.cfg")
request_route {
	if (method != "OPTIONS") { sl_send_reply("405", "Method Not Allowed"); exit; }
	if ($rU == "busy") { sl_send_reply("503", "Overloaded"); exit; }
	append_to_reply("X-Health: all is well\r\n");
	sl_send_reply("200", "OK");
}
`, dir, plain, tls))
	p := testserver.Start(t, testserver.Program{Path: "kamailio", Args: []string{
		"-DD", "-E", "-f", dir + "/kamailio.cfg", "-Y", dir + "/run", "-P", dir + "/run/pid", "-m", "16", "-M", "4", "-w", dir}})
	p.AwaitPort(plain)
	p.AwaitPort(tls)
	return plain, tls
}

func TestSIP(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "kamailio", "kamailio-tls-modules")
	certs := newCertificates(t)
	plain, tls := startKamailio(t, certs.good)
	_, expired := startKamailio(t, certs.expired)

	udp := Check{Type: "sip"}
	tcp := Check{Type: "sip", Protocol: "tcp"}
	examine(t, certs.states(certs.trust(tcp, "on"), tls, expired)...)
	examine(t,
		row("up", udp, plain, ""),
		downState(t, udp),
		row("by TCP", tcp, plain, ""),
		row("by TCP down", tcp, testserver.Port(t), "connection refused"),
		row("header", with(udp, func(c *Check) { c.Receive = "(?m)^X-Health: all is well$" }), plain, ""),
		row("wrong answer", with(tcp, func(c *Check) { c.Receive = "X-Health: bad" }), plain, `sip: the answer does not match "X-Health: bad": SIP/2.0 200 OK`),
		row("user", Check{Type: "sip", Request: "sip:monitor@server.goipvs.test", Login: "director@goipvs.test"}, plain, ""),
		row("unwell", Check{Type: "sip", Request: "busy@server.goipvs.test"}, plain, "sip options: 503 Overloaded"),
	)
}

// TestSIPRandom: no two requests are alike in what identifies them.
func TestSIPRandom(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	check := Check{Type: "sip"}
	s := sipCheck{protocol: "udp", security: &security{mode: tlsOff}}
	a, b := s.options(here, newDialer(check, loopback(5060))), s.options(here, newDialer(check, loopback(5060)))
	if a.branch == b.branch || a.callID == b.callID || a.text == b.text {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func FuzzSIP(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bKx;rport=5\r\nCall-ID: id\r\nCSeq: 1 OPTIONS\r\nContent-Length: 2\r\n\r\nxy"))
	f.Add([]byte("\r\n\r\nSIP/2.0 180 Ringing\nv: SIP/2.0/TCP x;branch=z9hG4bKx\ni: id\nl: 999999999\n\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		answer, err := readSIP(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		if answer.code < 100 || answer.code > 699 || !strings.HasPrefix(answer.text, "SIP/2.0 ") {
			t.Errorf("%+v", answer)
		}
		answer.answers(options{branch: "z9hG4bKx", callID: "id"})
	})
}
