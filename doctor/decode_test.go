package doctor

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
	frames "github.com/goipvs/goipvs/sysctl/vip"
)

func TestParseHexAddr(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:0050":                         "127.0.0.1:80",
		"00000000:1F90":                         "0.0.0.0:8080",
		"00000000000000000000000001000000:0035": "[::1]:53",
		"0000000000000000FFFF00000A0A0A0A:0016": "10.10.10.10:22", // mapped
	} {
		if got, ok := parseHexAddr(text); !ok || got.String() != want {
			t.Errorf("%s: %v %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ":", "01:0050", "0100007F", "0100007F:", "0100007F:10000", "0100007Z:0050"} {
		if got, ok := parseHexAddr(text); ok {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestWhoHas(t *testing.T) {
	mac := frames.MAC{2, 0, 0, 0, 0, 2}
	m, ok := frames.Decode(whoHas(Link{MAC: mac.String()}, dip, vip))
	if want := (frames.Message{Kind: frames.WhoHas, From: mac, Owner: mac, Sender: dip, Target: vip}); !ok || m != want {
		t.Errorf("%+v, %v", m, ok)
	}
}

// shotAt is a probe to a real server of a method.
func shotAt(m ipvs.Method, e ipvs.Encap) *shot {
	return &shot{from: netip.AddrPortFrom(dip, 40000),
		service:     Service{ServiceInfo: ipvs.ServiceInfo{Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 80))}}},
		destination: ipvs.DestinationInfo{Destination: ipvs.Destination{Addr: netip.AddrPortFrom(rip, 80), Method: m, Encap: e}}}
}

// TestJudge: what comes back to a probe, and what it means.
func TestJudge(t *testing.T) {
	frameOf := func(packet []byte) []byte { return append(make([]byte, etherLen), packet...) }
	answer := func(s *shot, flags byte) []byte {
		back := &shot{from: s.vip(), service: s.service}
		back.service.Addr = s.from
		return frameOf(back.packet(flags))
	}
	icmp := func(kind, code byte, from, to netip.Addr, quoted []byte) []byte {
		return frameOf(ipHeader(from, to, unix.IPPROTO_ICMP, 64, append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)))
	}
	outer := func(s *shot) []byte {
		proto, payload := s.encapsulate(s.packet(synFlag))
		return ipHeader(dip, rip, proto, 64, payload)
	}
	d, i := shotAt(ipvs.DirectRoute, ipvs.Encap{}), shotAt(ipvs.Tunnel, ipvs.Encap{})
	g, u := shotAt(ipvs.Tunnel, ipvs.Encap{Type: ipvs.GRE}), shotAt(ipvs.Tunnel, ipvs.Encap{Type: ipvs.GUE, Port: 6080})
	looped := d.packet(synFlag)
	looped[8] = 1
	for name, c := range map[string]struct {
		s     *shot
		frame []byte
		want  Outcome
	}{
		"SYN-ACK":                    {d, answer(d, synFlag|ackFlag), Answered},
		"reset":                      {d, answer(d, rstFlag|ackFlag), Refused},
		"came back":                  {d, frameOf(looped), Looped},
		"on its way out":             {d, frameOf(d.packet(synFlag)), NotTried},
		"time exceeded":              {d, icmp(11, 0, gw, dip, looped), Looped},
		"host unreachable":           {d, icmp(3, 1, rip, dip, d.packet(synFlag)), Forbidden},
		"prohibited":                 {d, icmp(3, 13, rip, dip, d.packet(synFlag)), Forbidden},
		"port unreachable":           {d, icmp(3, 3, rip, dip, d.packet(synFlag)), Refused},
		"about another packet":       {d, icmp(3, 3, rip, dip, ipHeader(dip, rip, 6, 64, make([]byte, 20))), NotTried},
		"for somebody else":          {d, icmp(3, 3, rip, client, d.packet(synFlag)), NotTried},
		"no ipip at all":             {i, icmp(3, 2, rip, dip, outer(i)), NoReceiver},
		"no ipip device":             {i, icmp(3, 3, rip, dip, outer(i)), DeviceDown},
		"no gre device":              {g, icmp(3, 3, rip, dip, outer(g)), NoReceiver},
		"no gue port":                {u, icmp(3, 3, rip, dip, outer(u)), NoReceiver},
		"answer to the inner packet": {u, answer(u, synFlag|ackFlag), Answered},
		"too short":                  {d, make([]byte, 10), NotTried},
	} {
		if got, detail := c.s.judge(c.frame); got != c.want {
			t.Errorf("%s: %s (%s), want %s", name, got, detail, c.want)
		}
	}
}

// FuzzJudge: frames come from the network.
func FuzzJudge(f *testing.F) {
	s := shotAt(ipvs.Tunnel, ipvs.Encap{Type: ipvs.GUE, Port: 6080})
	f.Add(append(make([]byte, etherLen), s.packet(synFlag)...))
	f.Add(whoHas(Link{MAC: "02:00:00:00:00:02"}, dip, vip))
	f.Fuzz(func(_ *testing.T, b []byte) {
		s.judge(b)
		parseIP(b)
	})
}

// FuzzXTables: what is read as a table of iptables may be anything.
func FuzzXTables(f *testing.F) {
	e := make([]byte, 152)
	binary.NativeEndian.PutUint16(e[88:], 112)
	binary.NativeEndian.PutUint16(e[90:], 152)
	binary.NativeEndian.PutUint16(e[112:], 40)
	f.Add(e, uint32(0), uint32(0))
	f.Fuzz(func(_ *testing.T, b []byte, entry, underflow uint32) {
		info := xtInfo{ValidHooks: 0x1f, HookEntry: [5]uint32{entry}, Underflow: [5]uint32{underflow}}
		for _, l := range []xtLayout{layout4, layout6} {
			chains, err := l.parse("filter", b, info)
			if err == nil {
				w := Firewall{Chains: chains}
				w.judge("prerouting", packet{proto: 6, src: netip.AddrPortFrom(client, 1), dst: netip.AddrPortFrom(vip, 80)})
			}
		}
	})
}

// FuzzService: what is read is written back the same.
func FuzzService(f *testing.F) {
	for _, s := range []string{"192.0.2.10:80", "udp:[2001:db8::1]:53", "fwmark:7", "fwmark6:0x10", "sctp:1.2.3.4:5", "tcp:", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseService(text)
		if err != nil {
			return
		}
		again, err := ParseService(ServiceArg(k))
		if err != nil || again != k {
			t.Errorf("%q is %v, written %q, read %v %v", text, k, ServiceArg(k), again, err)
		}
	})
}

// sets is a kernel with one set.
type sets struct {
	set      nftables.Set
	elements []nftables.SetElement
}

func (s sets) GetSetByName(*nftables.Table, string) (*nftables.Set, error) { return &s.set, nil }
func (s sets) GetSetElements(*nftables.Set) ([]nftables.SetElement, error) { return s.elements, nil }

// TestNFTables: rules as nft(8) compiles them, asked about a client's SYN to
// port 80 of the virtual address.
func TestNFTables(t *testing.T) {
	be16 := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	word := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	dport := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	daddr := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	lookup := &expr.Lookup{SourceRegister: 1, SetName: "x"}
	for name, c := range map[string]struct {
		sets sets
		rule []expr.Any
		want fate
	}{
		"drop":                      {rule: []expr.Any{drop}, want: dropped},
		"tcp dport 80 drop":         {rule: []expr.Any{dport, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(80)}, drop}, want: dropped},
		"tcp dport != 80 drop":      {rule: []expr.Any{dport, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: be16(80)}, drop}, want: accepted},
		"tcp dport 22 drop":         {rule: []expr.Any{dport, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(22)}, drop}, want: accepted},
		"tcp dport 1-1023 drop":     {rule: []expr.Any{dport, &expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: be16(1), ToData: be16(1023)}, drop}, want: dropped},
		"ip daddr /24 drop":         {rule: []expr.Any{daddr, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 255, 255, 0}, Xor: make([]byte, 4)}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{192, 0, 2, 0}}, drop}, want: dropped},
		"ct state new drop":         {rule: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(8), Xor: word(0)}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: word(0)}, drop}, want: dropped},
		"ct state established drop": {rule: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(2), Xor: word(0)}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: word(0)}, drop}, want: accepted},
		"iifname eth0 drop":         {rule: []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte("eth0"), make([]byte, 12)...)}, drop}, want: dropped},
		"iifname eth* drop":         {rule: []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte("eth")}, drop}, want: dropped},
		"iifname eth1 drop":         {rule: []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte("eth1"), make([]byte, 12)...)}, drop}, want: accepted},
		"dport in a set":            {sets: sets{elements: []nftables.SetElement{{Key: be16(22)}, {Key: be16(80)}}}, rule: []expr.Any{dport, lookup, drop}, want: dropped},
		"dport in intervals":        {sets: sets{set: nftables.Set{Interval: true}, elements: []nftables.SetElement{{Key: be16(0), IntervalEnd: true}, {Key: be16(70)}, {Key: be16(90), IntervalEnd: true}}}, rule: []expr.Any{dport, lookup, drop}, want: dropped},
		"dport beside intervals":    {sets: sets{set: nftables.Set{Interval: true}, elements: []nftables.SetElement{{Key: be16(70)}, {Key: be16(80), IntervalEnd: true}}}, rule: []expr.Any{dport, lookup, drop}, want: accepted},
		"verdict map": {sets: sets{set: nftables.Set{IsMap: true}, elements: []nftables.SetElement{{Key: be16(22), VerdictData: &expr.Verdict{Kind: expr.VerdictAccept}}, {Key: be16(80), VerdictData: drop}}},
			rule: []expr.Any{dport, &expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: "x"}}, want: dropped},
		"a set of concatenations": {sets: sets{set: nftables.Set{Concatenation: true}}, rule: []expr.Any{dport, lookup, drop}, want: accepted | dropped},
		"limit":                   {rule: []expr.Any{unknownExpr{name: "limit"}, drop}, want: accepted | dropped},
		"log, count and drop":     {rule: []expr.Any{&expr.Log{}, &expr.Counter{}, drop}, want: dropped},
		"reject":                  {rule: []expr.Any{&expr.Reject{}}, want: dropped},
	} {
		w := Firewall{Chains: []Chain{{Backend: "nftables", Table: "t", Name: "c", Hook: "input", Rules: nftRules(c.sets, nil, c.rule)}}}
		syn := packet{proto: 6, src: netip.AddrPortFrom(client, 40000), dst: netip.AddrPortFrom(vip, 80), in: "eth0", state: ctNew}
		if got := w.judge("input", syn).fate; got != c.want {
			t.Errorf("%s: fate %b, want %b", name, got, c.want)
		}
	}
}
