package snat

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// read reads our table of a family. That it is not there is no error.
func read(f nftables.TableFamily) (t table, err error) {
	t = table{whole: true, services: make(map[ipvs.ServiceKey]entry)}
	c, err := dial()
	if err != nil {
		return t, err
	}
	chains, err := readChains(c, f, tableName)
	if err != nil || chains == nil {
		return t, err
	}
	t.exists = true
	rules, err := readRules(f, tableName, "")
	if err != nil {
		return t, err
	}
	comments := make(map[string][]string) // of rules, by chain
	for _, r := range rules {
		if k, ok := parseChain(f, r.chain); ok {
			_, twice := t.services[k]
			t.services[k] = r.entry
			t.whole = t.whole && !twice
			t.marked = t.marked || k.FWMark != 0
		} else {
			comments[r.chain] = append(comments[r.chain], r.sign)
		}
	}
	_, there := chains[byMark.chain]
	t.whole = t.whole && there == t.marked
	leads := make(map[string]string)
	for _, d := range []*dispatch{&byAddress, &byMark} {
		if d == &byMark && !t.marked {
			continue
		}
		t.whole = t.whole && isHook(chains[d.chain], nftables.ChainTypeNAT, nftables.ChainHookPostrouting, d.priority) && slices.Equal(comments[d.chain], d.rules) && readElements(c, f, d.set, leads) == nil
	}
	t.whole = t.whole && len(leads) == len(t.services)
	for k := range t.services {
		t.whole = t.whole && leads[string(element(k))] == chainOf(k)
	}
	return t, nil
}

// readChains reads the chains of a table; nil: there is no such table.
func readChains(c *nftables.Conn, f nftables.TableFamily, name string) (map[string]*nftables.Chain, error) {
	tables, err := c.ListTablesOfFamily(f)
	if err != nil {
		return nil, reason(err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }) {
		return nil, nil
	}
	all, err := c.ListChainsOfTableFamily(f)
	chains := make(map[string]*nftables.Chain)
	for _, chain := range all {
		if chain.Table.Name == name {
			chains[chain.Name] = chain
		}
	}
	return chains, reason(err)
}

// isHook tells whether a chain is of this type and at this place.
func isHook(c *nftables.Chain, kind nftables.ChainType, hook *nftables.ChainHook, at nftables.ChainPriority) bool {
	return c != nil && c.Type == kind && c.Hooknum != nil && *c.Hooknum == *hook && c.Priority != nil && *c.Priority == at
}

// readElements reads which chains a map leads to. Keys of different maps have
// different lengths.
func readElements(c *nftables.Conn, f nftables.TableFamily, set string, leads map[string]string) error {
	all, err := c.GetSetElements(&nftables.Set{Table: &nftables.Table{Family: f, Name: tableName}, Name: set})
	for _, e := range all {
		leads[string(e.Key)] = decodeGoto(e.Val)
	}
	return err
}

// decodeGoto finds the chain of a verdict.
func decodeGoto(b []byte) (chain string) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return ""
	}
	for d.Next() {
		if d.Type() == unix.NFTA_VERDICT_CHAIN {
			chain = d.String()
		}
	}
	return chain
}

// readLocals reads a map of local addresses, in the order of its numbers.
func readLocals(c *nftables.Conn, f nftables.TableFamily, name string) []netip.Addr {
	all, err := c.GetSetElements(&nftables.Set{Table: &nftables.Table{Family: f, Name: tableName}, Name: name})
	if err != nil {
		return nil // it is gone
	}
	locals := make([]netip.Addr, len(all))
	for _, e := range all {
		a, ok := netip.AddrFromSlice(e.Val)
		if !ok || len(e.Key) != 4 {
			return nil
		}
		if i := binaryutil.NativeEndian.Uint32(e.Key); i < uint32(len(locals)) {
			locals[i] = a
		}
	}
	return locals
}

// rule is what we know a rule by.
type rule struct {
	chain string
	entry
}

// readRules reads the rules of a table, or of one of its chains. That there is no
// such table is no error.
func readRules(f nftables.TableFamily, table, chain string) (rules []rule, err error) {
	all, err := nft.Rules(f, table, chain)
	for _, b := range all {
		if r, ok := decodeRule(b); ok {
			rules = append(rules, r)
		}
	}
	return rules, reason(err)
}

// decodeRule reads a message about a rule.
func decodeRule(b []byte) (r rule, ok bool) {
	err := nft.Each(b, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.NFTA_RULE_CHAIN:
			r.chain = d.String()
		case unix.NFTA_RULE_HANDLE:
			r.rule = d.Uint64()
		case unix.NFTA_RULE_USERDATA:
			r.sign = decodeComment(d.Bytes())
		case unix.NFTA_RULE_EXPRESSIONS:
			d.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(r.decodeExpr)
				}
				return nil
			})
		}
	})
	return r, err == nil
}

// decodeComment finds the comment in user data, which others may have written.
func decodeComment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == byte(userdata.TypeComment) {
			text := b[2 : 2+int(b[1])]
			for len(text) > 0 && text[len(text)-1] == 0 {
				text = text[:len(text)-1]
			}
			return string(text)
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// decodeExpr takes the counts from an expression if it is a counter, and the
// name of the map if it is a lookup.
func (r *rule) decodeExpr(e *netlink.AttributeDecoder) error {
	name := ""
	for e.Next() {
		switch {
		case e.Type() == unix.NFTA_EXPR_NAME:
			name = e.String()
		case e.Type() == unix.NFTA_EXPR_DATA && (name == "counter" || name == "lookup"):
			e.Nested(func(data *netlink.AttributeDecoder) error {
				for data.Next() {
					switch {
					case name == "lookup" && data.Type() == unix.NFTA_LOOKUP_SET:
						r.locals = data.String()
					case name == "counter" && data.Type() == unix.NFTA_COUNTER_BYTES:
						r.counts.Bytes = data.Uint64()
					case name == "counter" && data.Type() == unix.NFTA_COUNTER_PACKETS:
						r.counts.Conns = data.Uint64()
					}
				}
				return nil
			})
		}
	}
	return nil
}
