package doctor_test

import (
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// fullNAT makes full NAT of a site with NAT, and breaks it: real servers have no
// way back to clients but by the local address of the director.
func (s *site) fullNAT() {
	s.t.Helper()
	const lip = "10.9.1.1/16"
	rule := filterSpec{table: "nat", hook: "postrouting", rules: []ruleSpec{{vip: s.VIP4, verdict: "snat", lip: netip.MustParsePrefix(lip).Addr()}}}
	install, remove := s.filter(s.Director, rule)
	s.addr(s.Director, "eth0", lip)
	s.must(s.Director.Sysctl("net.ipv4.vs.conntrack", "1"))
	install()
	for _, rs := range s.Servers {
		s.noDefault(rs, s.Director.Addr4)
	}
	s.works()
	s.find(s.Director, doctor.Options{})
	missing := fault{want: "fullnat-conntrack-off", name: "an address that is not here", on: s.Director,
		do: func() { s.noAddr(s.Director, "eth0", lip) }, undo: func() { s.addr(s.Director, "eth0", lip) }}
	s.try(s.vs("fullnat-conntrack-off", "conntrack", "0", "1"), missing, s.exhausted(rule))
	s.works()
	s.find(s.Director, doctor.Options{})
	remove()
}

// exhausted takes nine of the ten ports that the local address has towards each
// real server.
func (s *site) exhausted(rule filterSpec) fault {
	few := rule
	few.rules = []ruleSpec{rule.rules[0]}
	few.rules[0].ports = [2]uint16{40000, 40009}
	install, remove := s.filter(s.Director, few)
	again, _ := s.filter(s.Director, rule)
	v := s.at(ipvs.TCP, 8031, "rr")
	var open []*topo.Conn
	return s.apart(fault{want: "lip-exhausted", on: s.Director,
		do: func() {
			s.t.Helper()
			remove()
			install()
			for range 9 * len(s.Servers) {
				c, err := s.Client.Dial(s.t.Context(), "tcp", netip.AddrPort{}, v.Addr)
				s.must(err)
				open = append(open, c)
			}
		},
		undo: func() {
			s.t.Helper()
			for _, c := range open {
				_ = c.Reset()
			}
			remove()
			again()
			s.must(s.Director.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
		}}, v)
}
