package main

import (
	"net/netip"
	"os/exec"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// addFloor has those take part that do less and less of what the kernel's plane
// does, down to a mere router, each in a network of its own: what one asks of
// its director, as connection tracking, costs no other there.
func (c *contest) addFloor(haproxy *exec.Cmd) error {
	const base = 8500
	for _, p := range []*proxy{
		{name: "routed", begin: func(*topo.Net, uint16) error { return nil }},
		{name: "routed, tracked", begin: tracked},
		{name: "IPVS NAT", base: base, begin: natOnly},
		{name: "IPVS NAT, tracked", base: base, begin: natTracked},
		{name: "kernel plane, alone", base: base, begin: kernelPlane},
		{name: "haproxy, untracked", base: 8200, cmd: haproxy},
	} {
		n, err := c.build()
		if err != nil {
			return err
		}
		p.net, p.udp = n, p.cmd == nil
		if p.base == 0 {
			p.to = netip.AddrPortFrom(n.Servers[0].Addr4, serverBase)
		}
		if err := n.Prepare(topo.NAT, n.Servers...); err != nil {
			return err
		}
		c.proxies = append(c.proxies, p)
	}
	return nil
}

// tracked has connection tracking look at all packets, as a rule asks for it.
func tracked(n *topo.Net, _ uint16) error {
	if err := track(); err != nil {
		return err
	}
	return n.Director.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "bench"})
		chain := c.AddChain(&nftables.Chain{Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}})
		return c.Flush()
	})
}

func natOnly(n *topo.Net, base uint16) error {
	_, err := balance(n, base)
	return err
}

func natTracked(n *topo.Net, base uint16) error {
	if err := natOnly(n, base); err != nil {
		return err
	}
	if err := tracked(n, base); err != nil {
		return err
	}
	return n.Director.Do(func() error {
		_, err := (sysctl.Netns{}).Set(sysctl.VS("conntrack"), "1")
		return err
	})
}
