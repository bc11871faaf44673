package doctor

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ctOriginal is a ct expression with a direction, as the kernel gives it and
// the library does not write it.
type ctOriginal struct {
	key       uint32
	direction byte
}

// dumped is a rule as the kernel lists it.
func dumped(t testing.TB, exprs ...any) []byte {
	t.Helper()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	attribute := func(kind uint16, data []byte) netlink.Attribute { return netlink.Attribute{Type: kind, Data: data} }
	word := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	var list []netlink.Attribute
	for _, e := range exprs {
		var b []byte
		switch e := e.(type) {
		case expr.Any:
			b = must(expr.Marshal(unix.NFPROTO_IPV4, e))
		case ctOriginal:
			data := must(netlink.MarshalAttributes([]netlink.Attribute{attribute(unix.NFTA_CT_KEY, word(e.key)),
				attribute(unix.NFTA_CT_DREG, word(1)), attribute(unix.NFTA_CT_DIRECTION, []byte{e.direction})}))
			b = must(netlink.MarshalAttributes([]netlink.Attribute{attribute(unix.NFTA_EXPR_NAME, []byte("ct\x00")), attribute(unix.NLA_F_NESTED|unix.NFTA_EXPR_DATA, data)}))
		case string:
			b = must(netlink.MarshalAttributes([]netlink.Attribute{attribute(unix.NFTA_EXPR_NAME, append([]byte(e), 0))}))
		}
		list = append(list, attribute(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, b))
	}
	all := must(netlink.MarshalAttributes([]netlink.Attribute{attribute(unix.NFTA_RULE_TABLE, []byte("goipvs\x00")),
		attribute(unix.NLA_F_NESTED|unix.NFTA_RULE_EXPRESSIONS, must(netlink.MarshalAttributes(list)))}))
	return append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, all...)
}

// snatRule is the rule that package fullnat/snat makes for a service.
func snatRule(t testing.TB) []byte {
	equals := func(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }
	return dumped(t,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals([]byte{unix.IPPROTO_TCP}),
		ctOriginal{unix.NFT_CT_DST, 0}, equals(vip.AsSlice()),
		ctOriginal{unix.NFT_CT_PROTO_DST, 0}, equals([]byte{0, 80}),
		&expr.Counter{Packets: 7, Bytes: 420},
		&expr.Numgen{Register: 1, Modulus: 2, Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: "__map0"},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
}

// TestOwnSNAT: the table of goipvs' own full NAT is read like others, and that
// connection tracking is off for it is found.
func TestOwnSNAT(t *testing.T) {
	rules := nftRules(sets{set: nftables.Set{IsMap: true}}, nil, decodeRule(unix.NFPROTO_IPV4, snatRule(t)))
	if len(rules) != 1 || rules[0].Verdict != SNAT || !names4(rules[0], vip) || !strings.Contains(rules[0].Text, "ct original daddr 192.0.2.10") {
		t.Fatalf("read as %+v", rules)
	}
	f := nat()
	f.Firewall.Chains = []Chain{{Backend: "nftables", Family: 4, Table: "goipvs", Name: "postrouting", Hook: "postrouting", NAT: true, Rules: rules}}
	if got := ids(f); len(got) != 1 || got[0] != "fullnat-conntrack-off" {
		t.Errorf("conntrack 0: %v", got)
	}
	f.Knobs["conntrack"] = "1"
	if got := ids(f); len(got) != 0 {
		t.Errorf("conntrack 1: %v", got)
	}
}

// TestReply: an answer's destination is not the address that the client
// addressed.
func TestReply(t *testing.T) {
	rules := nftRules(nil, nil, decodeRule(unix.NFPROTO_IPV4, dumped(t, ctOriginal{unix.NFT_CT_DST, 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: vip.AsSlice()}, &expr.Masq{})))
	if names4(rules[0], vip) {
		t.Errorf("read as %+v", rules)
	}
}

// TestUnknownExpr: what is not understood does not make a rule apply to all.
func TestUnknownExpr(t *testing.T) {
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	for name, b := range map[string][]byte{"unknown": dumped(t, "frobnicate", drop), "damaged": snatRule(t)[:60], "empty": nil} {
		rules := nftRules(nil, nil, decodeRule(unix.NFPROTO_IPV4, b))
		if len(rules) != 1 || len(rules[0].Matches) == 0 || rules[0].Matches[len(rules[0].Matches)-1].Field != Other {
			t.Errorf("%s: read as %+v", name, rules)
		}
	}
}

// FuzzDecodeRule: whatever comes is read without a panic.
func FuzzDecodeRule(f *testing.F) {
	f.Add(snatRule(f))
	f.Fuzz(func(_ *testing.T, b []byte) { nftRules(sets{}, nil, decodeRule(unix.NFPROTO_IPV4, b)) })
}
