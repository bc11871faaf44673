package healthcheck

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/goipvs/goipvs/internal/testserver"
)

const zone = `$TTL 60
@ SOA ns hostmaster 2026010101 3600 600 86400 60
@ NS ns
@ MX 10 mail
ns A 127.0.0.1
www A 192.0.2.1
www A 192.0.2.2
www AAAA 2001:db8::1
alias CNAME www
mail A 192.0.2.3
txt TXT "hello world; " "and more"
_sip._udp SRV 0 5 5060 www
`

const reverseZone = `$TTL 60
@ SOA ns.example.test. hostmaster.example.test. 1 3600 600 86400 60
@ NS ns.example.test.
1 PTR www.example.test.
`

func startNamed(t *testing.T) uint16 {
	var long strings.Builder
	for i := range 60 {
		fmt.Fprintf(&long, "long TXT \"record %d %s\"\n", i, strings.Repeat("x", 60))
	}
	port := testserver.Port(t)
	dir := testserver.Dir(t, map[string]string{"zone": zone + long.String(), "reverse": reverseZone})
	testserver.Write(t, dir+"/named.conf", fmt.Sprintf(`
options {
	directory "%[1]s"; pid-file none; session-keyfile none; managed-keys-directory "%[1]s"; lock-file none;
	listen-on port %[2]d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; notify no; minimal-responses yes;
};
controls { };
zone "example.test" { type primary; file "zone"; };
zone "2.0.192.in-addr.arpa" { type primary; file "reverse"; };
`, dir, port))
	p := testserver.Start(t, testserver.Program{Path: "named", Args: []string{"-f", "-n", "1", "-c", dir + "/named.conf"}})
	p.AwaitPort(port)
	return port
}

func TestDNS(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "bind9")
	port := startNamed(t)
	ask := func(kind, name, receive string) Check {
		return Check{Type: "dns", Method: kind, Request: name, Receive: receive}
	}
	a := ask("", "www.example.test", "")
	examine(t,
		row("up", a, port, ""),
		downState(t, a),
		row("by TCP", with(a, func(c *Check) { c.Protocol = "tcp" }), port, ""),
		row("A", ask("A", "www.example.test", "192.0.2.2"), port, ""),
		row("A, final dot", ask("A", "www.example.test.", "192.0.2.2"), port, ""),
		row("A other address", ask("A", "www.example.test", "192.0.2.20"), port, `dns www.example.test. A: no answer matches "192.0.2.20": 192.0.2.`),
		row("A expression", ask("a", "www.example.test", `^192\.0\.2\.[12]$`), port, ""),
		row("A behind CNAME", ask("A", "alias.example.test", "192.0.2.1"), port, ""),
		row("AAAA, written otherwise", ask("AAAA", "www.example.test", "2001:0DB8:0::1"), port, ""),
		row("AAAA missing", ask("AAAA", "mail.example.test", ""), port, "no such record (empty answer)"),
		row("CNAME alone", ask("AAAA", "nowhere.example.test", ""), port, "NXDOMAIN"),
		row("CNAME", ask("CNAME", "alias.example.test", "WWW.example.test"), port, ""),
		row("PTR", ask("", "192.0.2.1", "www.example.test"), port, ""),
		row("PTR by name", ask("PTR", "1.2.0.192.in-addr.arpa", "^www"), port, ""),
		row("PTR other name", ask("", "192.0.2.1", "ww.example.test"), port, `no answer matches "ww.example.test": www.example.test.`),
		row("TXT", ask("TXT", "txt.example.test", "hello world; and more"), port, ""),
		row("TXT part", ask("TXT", "txt.example.test", "hello"), port, ""),
		row("TXT by UDP cut short, then by TCP", ask("TXT", "long.example.test", "record 59 x"), port, ""),
		row("SOA", ask("SOA", "example.test", "ns.example.test. hostmaster.example.test. 2026010101 3600 600 86400 60"), port, ""),
		row("SOA serial", ask("SOA", "example.test", " 2026010101 "), port, ""),
		row("SOA other serial", ask("SOA", "example.test", " 2026010102 "), port, "no answer matches"),
		row("MX", ask("MX", "example.test", "10 mail.example.test"), port, ""),
		row("NS", ask("NS", "example.test", "ns.example.test."), port, ""),
		row("SRV", ask("SRV", "_sip._udp.example.test", "0 5 5060 www.example.test."), port, ""),
		row("no such name", ask("A", "gone.example.test", ""), port, "dns gone.example.test. A: NXDOMAIN"),
		row("not its zone", ask("A", "www.elsewhere.test", ""), port, "dns www.elsewhere.test. A: REFUSED"),
	)
}

// TestDNSOtherTypes: only records of the type that was asked for count, whatever
// else is in the answer and has the wanted value.
func TestDNSOtherTypes(t *testing.T) {
	for _, row := range []struct {
		check   Check
		records []string
		want    string
	}{
		{Check{Method: "A"}, []string{"a. 1 IN CNAME b.", "b. 1 IN A 192.0.2.1"}, ""},
		{Check{Method: "A"}, []string{"a. 1 IN CNAME b."}, "no record of this type among the answers"},
		{Check{Method: "A", Receive: "^b"}, []string{"a. 1 IN CNAME b.", "b. 1 IN A 192.0.2.1"}, `no answer matches "^b": 192.0.2.1`},
		{Check{Method: "AAAA", Receive: "::ffff:192.0.2.1"}, []string{"a. 1 IN A 192.0.2.1"}, "no record of this type among the answers"},
		{Check{Method: "TXT", Receive: "b."}, []string{"a. 1 IN CNAME b."}, "no record of this type among the answers"},
		{Check{Method: "ANY", Receive: "192.0.2.1"}, []string{"a. 1 IN TXT x", "a. 1 IN A 192.0.2.1"}, ""},
	} {
		row.check.Type, row.check.Request = "dns", "a"
		name, kind, err := question(row.check.Request, row.check.Method)
		if err != nil {
			t.Fatal(err)
		}
		v, err := newValues(kind, row.check.Receive)
		if err != nil {
			t.Fatal(err)
		}
		var answer mdns.Msg
		for _, text := range row.records {
			rr, err := mdns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
		got := ""
		if err := (dnsCheck{name, kind, "udp", v}).judge(&answer); err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s %q of %q: %q, want %q", row.check.Method, row.check.Receive, row.records, got, row.want)
		}
	}
}

// A server that knows no EDNS is asked without, as resolvers do, and is well; one
// that does not like our question either way is not.
func TestDNSWithoutEDNS(t *testing.T) {
	for name, test := range map[string]struct {
		rcode   int
		sulking bool // without EDNS, too
		want    string
	}{
		"FORMERR":        {mdns.RcodeFormatError, false, ""},
		"NOTIMP":         {mdns.RcodeNotImplemented, false, ""},
		"FORMERR always": {mdns.RcodeFormatError, true, "dns www.example.test. A: FORMERR"},
		"SERVFAIL":       {mdns.RcodeServerFailure, false, "dns www.example.test. A: SERVFAIL"},
	} {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, 4<<10)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				asked, answer := new(mdns.Msg), new(mdns.Msg)
				if asked.Unpack(buf[:n]) != nil {
					return
				}
				if asked.IsEdns0() != nil || test.sulking {
					answer.SetRcode(asked, test.rcode)
					answer.Question = nil // as the oldest do
				} else {
					answer.SetReply(asked)
					answer.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: "www.example.test.", Rrtype: mdns.TypeA, Class: mdns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
				}
				wire, err := answer.Pack()
				if err != nil {
					return
				}
				c.WriteTo(wire, from)
			}
		}()
		res, err := Look(within(t, patient), Check{Type: "dns", Request: "www.example.test", Receive: "192.0.2.1"}, Target{Real: netip.MustParseAddrPort(c.LocalAddr().String())})
		c.Close()
		got := ""
		if res.Err != nil {
			got = res.Err.Error()
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %v %q, want %q\n%s", name, err, got, test.want, res.Transcript)
		}
	}
}
