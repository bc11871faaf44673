package healthcheck

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// TestOthersAnswers: what does not answer our very question is passed over, and
// the answer that comes behind it counts.
func TestOthersAnswers(t *testing.T) {
	for name, row := range map[string]struct {
		check  Check
		answer func(t *testing.T, request []byte) [][]byte // the last is the right one
		want   string
	}{
		"dns":    {Check{Type: "dns", Request: "www.example.test", Receive: "192.0.2.1"}, dnsAnswers, ""},
		"sip":    {Check{Type: "sip"}, sipAnswers, ""},
		"radius": {Check{Type: "radius", Login: "me", Password: "watchword", Secret: "shared"}, radiusAnswers, ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr := answering(t, row.answer)
			res, err := Look(within(t, patient), row.check, Target{Real: addr})
			if err != nil || res.Err != nil {
				t.Errorf("%v %v\n%s", err, res.Err, res.Transcript)
			}
			addr = answering(t, func(t *testing.T, request []byte) [][]byte {
				all := row.answer(t, request)
				return all[:len(all)-1]
			})
			res, err = Look(within(t, 300*time.Millisecond), row.check, Target{Real: addr})
			if err != nil || Class(res.Err) != "timeout" {
				t.Errorf("others' answers alone: %v %v\n%s", err, res.Err, res.Transcript)
			}
		})
	}
}

// answering answers one datagram with many.
func answering(t *testing.T, answer func(*testing.T, []byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, b := range answer(t, buf[:n]) {
			c.WriteTo(b, from)
		}
	}()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

func dnsAnswers(t *testing.T, request []byte) (all [][]byte) {
	var m mdns.Msg
	if err := m.Unpack(request); err != nil {
		t.Error(err)
		return nil
	}
	for _, change := range []func(*mdns.Msg){
		func(m *mdns.Msg) { m.Id++ },
		func(m *mdns.Msg) { m.Question[0].Name = "other.example.test." },
		func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeAAAA },
		func(m *mdns.Msg) { m.Question = nil },
		func(m *mdns.Msg) { m.Response = false },
		func(*mdns.Msg) {},
	} {
		a := new(mdns.Msg).SetReply(&m)
		rr, err := mdns.NewRR("www.example.test. 60 IN A 192.0.2.1")
		if err != nil {
			t.Error(err)
		}
		a.Answer = []mdns.RR{rr}
		change(a)
		wire, err := a.Pack()
		if err != nil {
			t.Error(err)
		}
		all = append(all, wire)
	}
	return append([][]byte{{}, {1, 2, 3}}, all...)
}

func sipAnswers(t *testing.T, request []byte) [][]byte {
	line := func(name string) string {
		for l := range strings.Lines(string(request)) {
			if strings.HasPrefix(l, name+":") {
				return l
			}
		}
		t.Errorf("no %s in the request", name)
		return ""
	}
	via, id := line("Via"), line("Call-ID")
	answer := func(status, via, id string) []byte {
		return []byte("SIP/2.0 " + status + "\r\n" + via + line("From") + line("To") + id + line("CSeq") + "Content-Length: 0\r\n\r\n")
	}
	return [][]byte{
		[]byte("nonsense"), request,
		answer("503 Forged", via, "Call-ID: guessed\r\n"),
		answer("503 Forged", "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKguessed\r\n", id),
		answer("100 Trying", via, id),
		answer("200 OK", via, id),
	}
}

func radiusAnswers(t *testing.T, request []byte) [][]byte {
	good := radiusReply(t, request, []byte("shared"))
	other := bytes.Clone(good)
	other[1]++
	return [][]byte{{}, request, other, radiusReply(t, request, []byte("guessed")), good}
}

// TestIPv6: servers of both families are checked alike.
func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1<<10)
		c.Write([]byte("220 mail\r\n"))
		n, _ := c.Read(buf)
		said <- string(buf[:n])
		c.Write([]byte("250 mail\r\n"))
		c.Read(buf)
	}()
	res, err := Look(within(t, patient), Check{Type: "smtp"}, Target{Real: netip.MustParseAddrPort(l.Addr().String())})
	if err != nil || res.Err != nil {
		t.Fatalf("%v %v", err, res.Err)
	}
	if got := <-said; got != "EHLO [IPv6:::1]\r\n" {
		t.Errorf("%q", got)
	}
}
