package healthcheck

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
)

func FuzzDNSAnswer(f *testing.F) {
	m := new(mdns.Msg).SetQuestion("www.example.test.", mdns.TypeA)
	m.Id = 0x1234
	rr, err := mdns.NewRR("www.example.test. 60 IN A 192.0.2.1")
	if err != nil {
		f.Fatal(err)
	}
	answer := new(mdns.Msg).SetReply(m)
	answer.Answer = []mdns.RR{rr}
	wire, err := answer.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		answer, err := readAnswer(wire, m)
		if err != nil {
			return
		}
		v, err := newValues(mdns.TypeA, "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range answer.Answer {
			valueOf(rr)
			canonical(rr)
		}
		err = dnsCheck{name: "www.example.test.", kind: mdns.TypeA, values: v}.judge(answer)
		if err == nil && !bytes.Contains(wire, []byte{192, 0, 2, 1}) {
			t.Errorf("up without the address in the answer: %v", answer)
		}
	})
}

func FuzzDNSValue(f *testing.F) {
	f.Add("A", "192.0.2.1")
	f.Add("AAAA", "2001:db8::1")
	f.Add("SOA", "ns.test. host.test. 1 2 3 4 5")
	f.Add("CAA", `0 issue "ca.test"`)
	f.Fuzz(func(t *testing.T, kind, text string) {
		number, ok := mdns.StringToType[kind]
		if !ok {
			return
		}
		v, err := newValues(number, text)
		if err != nil || v.equal == "" {
			return
		}
		rr, err := mdns.NewRR(". 0 IN " + kind + " " + text)
		if err == nil && rr != nil && rr.Header().Rrtype == number && number != mdns.TypeTXT && !v.match(rr) {
			t.Errorf("%s %q is not %v", kind, text, rr)
		}
	})
}

func FuzzRESP(f *testing.F) {
	for _, s := range []string{"+PONG\r\n", "-ERR no\r\n", ":1\r\n", "$5\r\nhello\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n*1\r\n:2\r\n", "*-1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		text, err := readRESP(bufio.NewReader(bytes.NewReader(wire)))
		if err == nil && len(text) > 2*maxReply {
			t.Errorf("%d bytes", len(text))
		}
	})
}

func FuzzPassive(f *testing.F) {
	f.Add("Entering Passive Mode (127,0,0,1,4,1).")
	f.Add("Entering Extended Passive Mode (|||6446|)")
	f.Fuzz(func(t *testing.T, text string) {
		if to, ok := pasvAddress(text); ok && (!to.IsValid() || to.Port() == 0) {
			t.Errorf("%q: %v", text, to)
		}
		if port, ok := epsvPort(text); ok && port == 0 {
			t.Errorf("%q: port 0", text)
		}
	})
}

func TestPassive(t *testing.T) {
	type row struct{ Pasv, Epsv string }
	got := map[string]row{}
	texts := []string{
		"Entering Passive Mode (192,0,2,1,4,1).", "Entering Passive Mode 192,0,2,1,4,1", "Entering Passive Mode (192,0,2,1,4,256)",
		"Entering Passive Mode (192,0,2,1,0,0)", "Entering Passive Mode (192,0,2,1,4)", "Entering", "",
		"Entering Extended Passive Mode (|||6446|)", "Entering Extended Passive Mode (!!!6446!)", "(|||65536|)", "(|||0|)", "(|||x|)", "(||||)", "|||6446|",
	}
	for _, s := range texts {
		var r row
		if to, ok := pasvAddress(s); ok {
			r.Pasv = to.String()
		}
		if port, ok := epsvPort(s); ok {
			r.Epsv = netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()
		}
		if r != (row{}) {
			got[s] = r
		}
	}
	want := map[string]row{
		"Entering Passive Mode (192,0,2,1,4,1).":    {Pasv: "192.0.2.1:1025"},
		"Entering Passive Mode 192,0,2,1,4,1":       {Pasv: "192.0.2.1:1025"},
		"Entering Extended Passive Mode (|||6446|)": {Epsv: "0.0.0.0:6446"},
		"Entering Extended Passive Mode (!!!6446!)": {Epsv: "0.0.0.0:6446"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzMySQLPackets: what passes is what came, and no packet of a length that a
// library would make room for passes.
func FuzzMySQLPackets(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00x"), 3)
	f.Add([]byte("\xff\xff\xff\x00x"), 1)
	f.Fuzz(func(t *testing.T, wire []byte, step int) {
		p := &packetConn{Conn: &reading{Reader: stepReader{strings.NewReader(string(wire)), max(step, 1)}}}
		got, err := io.ReadAll(p)
		if err == nil && !bytes.Equal(got, wire) {
			t.Errorf("%q became %q", wire, got)
		}
		if err == nil && len(wire) >= 4 && int(wire[0])|int(wire[1])<<8|int(wire[2])<<16 > maxBytes {
			t.Errorf("%q passed", wire)
		}
	})
}

// reading is a connection that is only read.
type reading struct {
	net.Conn
	io.Reader
}

func (r *reading) Read(b []byte) (int, error) { return r.Reader.Read(b) }

// stepReader reads in steps.
type stepReader struct {
	r    io.Reader
	step int
}

func (r stepReader) Read(b []byte) (int, error) { return r.r.Read(b[:min(len(b), r.step)]) }
