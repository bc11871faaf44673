package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
)

var (
	vip    = netip.MustParseAddr("192.0.2.10")
	dip    = netip.MustParseAddr("10.9.0.2")
	rip    = netip.MustParseAddr("10.9.0.11")
	rip2   = netip.MustParseAddr("10.9.0.12")
	gw     = netip.MustParseAddr("10.9.0.1")
	client = netip.MustParseAddr("172.16.0.1")
)

// director is a director in which nothing is wrong.
func director(m ipvs.Method) *Facts {
	web := Service{ServiceInfo: ipvs.ServiceInfo{Service: ipvs.Service{
		ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 80)), Scheduler: "wlc"}}}
	for _, a := range []netip.Addr{rip, rip2} {
		web.Destinations = append(web.Destinations, ipvs.DestinationInfo{Destination: ipvs.Destination{Addr: netip.AddrPortFrom(a, 80), Method: m, Weight: 1}})
	}
	f := plain()
	f.IPVS, f.Services = true, []Service{web}
	f.Timeouts = ipvs.Timeouts{TCP: 7500 * time.Second, TCPFin: 120 * time.Second, UDP: 300 * time.Second}
	f.Buckets = 4096
	f.Knobs = map[string]string{"conntrack": "0", "conn_reuse_mode": "1", "expire_nodest_conn": "1", "expire_quiescent_template": "1",
		"run_estimation": "1", "drop_packet": "0", "drop_entry": "0", "secure_tcp": "0", "sync_version": "1", "backup_only": "0",
		"pmtu_disc": "1", "sloppy_sctp": "0", "amemthresh": "1024"}
	f.Addrs = append(f.Addrs, Addr{Prefix: netip.PrefixFrom(vip, 32), Link: "eth0"}, Addr{Prefix: netip.PrefixFrom(dip, 16), Link: "eth0"})
	f.Routes = []Route{
		{To: vip, Type: Local, Oif: "lo"}, {To: vip, From: client, Iif: "eth0", Type: Local},
		{To: client, Type: Unicast, Gateway: gw, Oif: "eth0", Src: dip},
		{To: rip, Type: Unicast, Oif: "eth0", Src: dip}, {To: rip2, Type: Unicast, Oif: "eth0", Src: dip},
	}
	f.ARP.Asked = []netip.Addr{vip, rip, rip2, gw}
	f.ARP.Answers = []ARPAnswer{{Addr: rip, MAC: "02:00:00:00:00:11", Link: "eth0"}, {Addr: rip2, MAC: "02:00:00:00:00:12", Link: "eth0"}, {Addr: gw, MAC: "02:00:00:00:00:01", Link: "eth0"}}
	f.Conf["all"]["forwarding"], f.Conf["eth0"]["forwarding"] = 1, 1
	return f
}

// realServer is a real server of DR in which nothing is wrong.
func realServer() *Facts {
	f := plain()
	f.Addrs = append(f.Addrs, Addr{Prefix: netip.PrefixFrom(vip, 32), Link: "lo"}, Addr{Prefix: netip.PrefixFrom(rip, 16), Link: "eth0"})
	f.Conf["all"]["arp_ignore"], f.Conf["all"]["arp_announce"] = 1, 2
	f.Routes = []Route{{To: vip, Type: Local, Oif: "lo"}, {To: vip, From: client, Iif: "eth0", Type: Local},
		{To: client, Type: Unicast, Gateway: gw, Oif: "eth0", Src: rip}, {To: client, From: vip, Type: Unicast, Gateway: gw, Oif: "eth0", Src: vip}}
	f.Neighbours = []Neighbour{{Addr: gw, MAC: "02:00:00:00:00:01", Link: "eth0", Alive: true}}
	f.ARP = ARP{Asked: []netip.Addr{vip}, Answers: []ARPAnswer{{Addr: vip, MAC: "02:00:00:00:00:02", Link: "eth0", ToAny: true}}}
	f.Sockets = []Socket{{Protocol: ipvs.TCP, Local: netip.MustParseAddrPort("0.0.0.0:80"), State: Listening}}
	return f
}

func plain() *Facts {
	conf := func() map[string]int {
		m := map[string]int{}
		for _, k := range confKnobs {
			m[k] = 0
		}
		return m
	}
	return &Facts{
		Kernel: Release{6, 12}, CPUs: 2, Stuck: 3 * time.Second,
		Links: []Link{{Name: "lo", Index: 1, Kind: "device", Up: true, Loopback: true, MTU: 65536},
			{Name: "eth0", Index: 2, Kind: "device", Up: true, ARP: true, MTU: 1500, MAC: "02:00:00:00:00:02"}},
		Conf:    map[string]map[string]int{"all": conf(), "default": conf(), "lo": conf(), "eth0": conf()},
		Conf6:   map[string]map[string]int{},
		Clients: []netip.Addr{client},
		Sockets: []Socket{},
		Net:     map[string]string{"net.ipv4.tcp_keepalive_time": "7200"},
		Before:  map[string]uint64{}, After: map[string]uint64{},
		Firewall:  Firewall{Known: true},
		BootFiles: true, BootLoads: map[string]bool{"ip_vs": true},
		Persistent: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"},
	}
}

func ids(f *Facts) []string {
	out := []string{}
	for _, x := range Diagnose(f).Findings {
		out = append(out, x.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestHealthy(t *testing.T) {
	for name, f := range map[string]*Facts{"DR": director(ipvs.DirectRoute), "NAT": director(ipvs.NAT), "TUN": director(ipvs.Tunnel), "real server": realServer()} {
		if got := ids(f); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// stuckAt has two clients wait for an answer of a destination.
func stuckAt(f *Facts, from netip.Addr) {
	s := f.Services[0]
	f.Connections = append(f.Connections, Connections{Protocol: ipvs.TCP, Virtual: s.Addr, Destination: s.Destinations[0].Addr,
		State: "SYN_RECV", Count: 2, Idle: 10 * time.Second, Clients: []netip.AddrPort{netip.AddrPortFrom(from, 40000)}})
}

func probed(f *Facts, o, direct Outcome) {
	s := f.Services[0]
	f.Probes = append(f.Probes, Probe{Service: s.ServiceKey.String(), Destination: s.Destinations[0].Addr.String(), Outcome: o, Direct: direct})
}

// chainOf is a packet filter of one chain.
func chainOf(drop bool, rules ...FilterRule) Chain {
	return Chain{Backend: "nftables", Table: "filter", Name: "base", Hook: "input", Drop: drop, Rules: rules}
}

func to(a netip.Addr) Match { return Match{Field: Destination, Ranges: exactly(a.AsSlice())} }

// broken are facts with one thing wrong, and what must be found: all that lab
// tests cannot make, and the difficult ones of what they can.
var broken = []struct {
	want, name string
	facts      func() *Facts
	change     func(*Facts)
}{
	{"module-missing", "", plain, func(f *Facts) {}},
	{"", "another service of a director", dr, func(f *Facts) {
		k := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.99:80"))
		f.Hints.Service, f.Services, f.Others = &k, nil, 1
	}},
	{"", "a service, and a table that cannot be read", plain, func(f *Facts) {
		k := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.99:80"))
		f.Hints.Service, f.IPVS, f.TableHidden = &k, true, true
		f.Routes = []Route{{To: k.Addr.Addr(), Type: Unicast}}
	}},
	{"module-missing", "on disk", plain, func(f *Facts) { f.IPVSFile = true }},
	{"", "a real server needs no module", realServer, func(f *Facts) { f.IPVS = false }},
	{"scheduler-missing", "hint", dr, func(f *Facts) { f.Schedulers = map[string]bool{"mh": false, "rr": true} }},
	{"scheduler-missing", "service without", dr, func(f *Facts) { f.Services[0].Scheduler = "none" }},
	{"foreign-manager", "two daemons", dr, func(f *Facts) { f.Managers = []Process{{"goipvsd", 10}, {"keepalived", 20}} }},
	{"", "one daemon, several processes", dr, func(f *Facts) { f.Managers = []Process{{"keepalived", 20}} }},
	{"foreign-manager", "kube-ipvs0", dr, func(f *Facts) {
		f.Links = append(f.Links, Link{Name: "kube-ipvs0", Kind: "dummy"})
		f.Managers = []Process{{"goipvsd", 10}}
	}},
	{"arp-flux-vip", "the stand-by is a real server", dr, func(f *Facts) {
		f.Addrs[0].Link = "lo"
		f.Services[0].Destinations[1].Addr = netip.AddrPortFrom(dip, 80)
		f.ARP.Answers = append(f.ARP.Answers, ARPAnswer{Addr: vip, MAC: "02:00:00:00:00:77", Link: "eth0", ToAny: true})
		f.Daemons = []ipvs.Daemon{{State: ipvs.Backup, Interface: "eth0"}}
		f.Knobs["backup_only"] = "1"
		f.Sockets = append(f.Sockets, Socket{Protocol: ipvs.TCP, Local: netip.AddrPortFrom(vip, 80), State: Listening})
		f.Conf["all"]["arp_announce"] = 2
	}},
	{"", "a stand-by hears the active director", dr, func(f *Facts) {
		f.Addrs, f.Routes[0].Type = f.Addrs[1:], Unicast
		f.ARP.Answers = append(f.ARP.Answers, ARPAnswer{Addr: vip, MAC: "02:00:00:00:00:77", Link: "eth0", ToAny: true})
		f.Daemons = []ipvs.Daemon{{State: ipvs.Backup, Interface: "eth0"}}
	}},
	{"vip-duplicate", "a stand-by hears two", dr, func(f *Facts) {
		f.Addrs, f.Routes[0].Type = f.Addrs[1:], Unicast
		f.ARP.Answers = append(f.ARP.Answers, ARPAnswer{Addr: vip, MAC: "02:00:00:00:00:77", ToAny: true}, ARPAnswer{Addr: vip, MAC: "02:00:00:00:00:78", ToAny: true})
		f.Daemons = []ipvs.Daemon{{State: ipvs.Backup, Interface: "eth0"}}
	}},
	{"arp-announce-vip", "1 and the VIP in a network of the interface", realServer, func(f *Facts) {
		f.Conf["all"]["arp_announce"] = 1
		f.Persistent["net.ipv4.conf.all.arp_announce"] = "1"
		f.Addrs[0].Prefix = netip.MustParsePrefix("10.9.0.100/32")
	}},
	{"", "arp_announce 1 is enough elsewhere", realServer, func(f *Facts) {
		f.Conf["all"]["arp_announce"] = 1
		f.Persistent["net.ipv4.conf.all.arp_announce"] = "1"
	}},
	{"", "the director's VIP on lo, delivered by a route", dr, func(f *Facts) {
		f.Addrs[0].Link = "lo"
		f.Conf["all"]["arp_ignore"] = 1
		f.Connections = []Connections{{Protocol: ipvs.TCP, Virtual: f.Services[0].Addr, Destination: f.Services[0].Destinations[0].Addr, State: "ESTABLISHED", Count: 1}}
	}},
	{"rs-vip-missing-forwarding", "by counters", dr, func(f *Facts) {
		f.Services[0].Destinations[0].Stats = ipvs.Stats{Conns: 2, InPkts: 64, InBytes: 64 * 60}
		f.After["Icmp.OutTimeExcds"] = 2
	}},
	{"nat-same-subnet", "on the director", nat, func(f *Facts) { stuckAt(f, netip.MustParseAddr("10.9.0.50")); probed(f, Answered, Answered) }},
	{"nat-same-subnet", "on the real server", natServer, func(f *Facts) {
		f.Sockets = append(f.Sockets, Socket{Protocol: ipvs.TCP, Local: netip.AddrPortFrom(rip, 80), Remote: netip.MustParseAddrPort("10.9.0.50:40000"), State: SynReceived})
	}},
	{"", "healthy NAT real server", natServer, func(f *Facts) {}},
	{"nat-rs-gateway", "another gateway", natServer, func(f *Facts) { f.Routes[0].Gateway = gw }},
	{"", "the director by its MAC address", natServer, func(f *Facts) {
		f.Routes[0].Gateway = gw
		f.Neighbours = append(f.Neighbours, Neighbour{Addr: gw, MAC: "02:00:00:00:00:02"}, Neighbour{Addr: dip, MAC: "02:00:00:00:00:02"})
	}},
	{"nat-rs-gateway", "inferred", nat, func(f *Facts) { stuckAt(f, client); probed(f, Answered, Answered) }},
	{"", "a gateway that full NAT has no need of", nat, func(f *Facts) { stuckAt(f, client); probed(f, Answered, Answered); fullNATRule(f) }},
	{"", "a client beside a server of full NAT", nat, func(f *Facts) {
		stuckAt(f, netip.MustParseAddr("10.9.0.50"))
		probed(f, Answered, Answered)
		fullNATRule(f)
	}},
	{"", "the server itself does not answer either", nat, func(f *Facts) { stuckAt(f, client); probed(f, Silent, Silent) }},
	{"nat-ip-forward", "explains those who wait", nat, func(f *Facts) {
		stuckAt(f, client)
		probed(f, Answered, Answered)
		f.Conf["all"]["forwarding"], f.Conf["eth0"]["forwarding"] = 0, 0
	}},
	{"tun-mtu", "on the director", tun, func(f *Facts) {
		f.After["IcmpMsg.OutType3"], f.After["Ip.InReceives"], f.After["IpExt.InOctets"] = 20, 100, 120_000
	}},
	{"", "an underlay of 1600", tun, func(f *Facts) {
		f.Links[1].MTU = 1600
		f.After["IcmpMsg.OutType3"], f.After["Ip.InReceives"], f.After["IpExt.InOctets"] = 20, 100, 120_000
	}},
	{"tun-no-receiver", "by counters", realServer, func(f *Facts) { f.After["Ip.InUnknownProtos"] = 3 }},
	{"tun-no-receiver", "probe", tun, func(f *Facts) { probed(f, NoReceiver, Answered) }},
	{"tun-device-down", "probe", tun, func(f *Facts) { probed(f, DeviceDown, Answered) }},
	{"check-misses-vip", "", tun, func(f *Facts) { probed(f, Silent, Answered) }},
	{"", "silent altogether", tun, func(f *Facts) { probed(f, Silent, Silent) }},
	{"gso-oversize", "", tun, func(f *Facts) {
		f.After["Ip.FragCreates"], f.After["Ip.InReceives"], f.After["IpExt.InOctets"] = 9, 10, 80_000
	}},
	{"", "fragments that clients allow", tun, func(f *Facts) {
		f.After["Ip.FragCreates"], f.After["Ip.InReceives"], f.After["IpExt.InOctets"] = 9, 10, 14_000
	}},
	{"anti-spoofing", "", dr, func(f *Facts) { stuckAt(f, client); probed(f, Answered, Answered) }},
	{"", "one of them was answered", dr, func(f *Facts) {
		stuckAt(f, client)
		probed(f, Answered, Answered)
		c := f.Connections[0]
		c.State = "ESTABLISHED"
		f.Connections = append(f.Connections, c)
	}},
	{"conn-reuse-delay", "", nat, func(f *Facts) { f.Kernel = Release{5, 4}; f.Knobs["conntrack"] = "1" }},
	{"conn-reuse-off", "", nat, func(f *Facts) { f.Knobs["conn_reuse_mode"] = "0" }},
	{"", "conn_reuse_mode 0 before 5.9", nat, func(f *Facts) { f.Kernel = Release{5, 4}; f.Knobs["conn_reuse_mode"] = "0" }},
	{"estimator-jitter", "", dr, func(f *Facts) {
		f.Kernel, f.CPUs = Release{6, 1}, 64
		for range 2000 {
			f.Services[0].Destinations = append(f.Services[0].Destinations, f.Services[0].Destinations[0])
		}
	}},
	{"estimator-off", "no CPU for it", dr, func(f *Facts) { f.Knobs["est_cpulist"] = "" }},
	{"conn-table-small", "", dr, func(f *Facts) {
		f.Connections = []Connections{{Protocol: ipvs.TCP, Virtual: f.Services[0].Addr, Destination: f.Services[0].Destinations[0].Addr, State: "ESTABLISHED", Count: 50_000}}
	}},
	{"", "a table that grows by itself", dr, func(f *Facts) {
		f.Knobs["conn_lfactor"] = "-4"
		f.Connections = []Connections{{Protocol: ipvs.TCP, Virtual: f.Services[0].Addr, Destination: f.Services[0].Destinations[0].Addr, State: "ESTABLISHED", Count: 50_000}}
	}},
	{"lro-on", "", dr, func(f *Facts) { f.Links[1].LRO = true }},
	{"rs-tw-recycle", "", realServer, func(f *Facts) { f.Net["net.ipv4.tcp_tw_recycle"] = "1" }},
	{"drop-defence-on", "by itself", dr, func(f *Facts) { f.Knobs["drop_packet"] = "2" }},
	{"", "armed only", dr, func(f *Facts) { f.Knobs["drop_packet"] = "1" }},
	{"lip-exhausted", "", nat, func(f *Facts) {
		f.Knobs["conntrack"] = "1"
		f.Conntrack = Conntrack{Loaded: true, Count: 55_000, Max: 262_144, PerLIP: map[LIP]int{{dip, netip.AddrPortFrom(rip, 80)}: 55_000}}
	}},
	{"", "enough ports", nat, func(f *Facts) {
		f.Knobs["conntrack"] = "1"
		f.Conntrack = Conntrack{Loaded: true, Count: 25_000, Max: 262_144, PerLIP: map[LIP]int{{dip, netip.AddrPortFrom(rip, 80)}: 25_000}}
	}},
	{"conntrack-table-full", "", dr, func(f *Facts) { f.Conntrack = Conntrack{Loaded: true, Count: 95, Max: 100} }},
	{"conntrack-table-full", "drops", dr, func(f *Facts) {
		f.Conntrack = Conntrack{Loaded: true, Count: 5, Max: 100}
		f.After["nf_conntrack.drop"] = 4
	}},
	{"fullnat-conntrack-off", "", nat, func(f *Facts) {
		f.Firewall.Chains = []Chain{{Backend: "nftables", Table: "goipvs", Name: "snat", Hook: "postrouting", NAT: true,
			Rules: []FilterRule{{Matches: []Match{{Field: CTVIP, Ranges: exactly(vip.AsSlice())}}, Verdict: SNAT, To: dip}}}}
	}},
	{"fullnat-conntrack-off", "an address that is not here", nat, func(f *Facts) {
		f.Knobs["conntrack"] = "1"
		lip := netip.MustParseAddr("10.9.0.99")
		f.Routes = append(f.Routes, Route{To: lip, Type: Unicast, Oif: "eth0"})
		f.Firewall.Chains = []Chain{{Backend: "nftables", Table: "goipvs", Name: "snat", Hook: "postrouting", NAT: true,
			Rules: []FilterRule{{Matches: []Match{{Field: CTVIP, Ranges: exactly(vip.AsSlice())}}, Verdict: SNAT, To: lip}}}}
	}},
	{"", "a masquerade for other networks only", dr, func(f *Facts) {
		f.Knobs["conntrack"] = "1"
		other := netip.MustParseAddr("10.55.0.0")
		f.Firewall.Chains = []Chain{{Backend: "nftables", Table: "nat", Name: "post", Hook: "postrouting", NAT: true,
			Rules: []FilterRule{{Matches: []Match{{Field: Source, Mask: []byte{255, 255, 0, 0}, Ranges: exactly(other.AsSlice())}}, Verdict: Masquerade}}}}
	}},
	{"", "a filter that is not understood is not judged", dr, func(f *Facts) {
		f.Firewall.Chains = []Chain{chainOf(false, FilterRule{Matches: []Match{{Field: Other}}, Verdict: Drop})}
	}},
	{"firewall-drops-vip", "behind a jump", dr, func(f *Facts) {
		f.Firewall.Chains = []Chain{chainOf(false, FilterRule{Verdict: Jump, Target: "more"}),
			{Backend: "nftables", Table: "filter", Name: "more", Rules: []FilterRule{{Matches: []Match{{Field: DestinationPort, Ranges: exactly([]byte{0, 80})}}, Verdict: Drop}}}}
	}},
	{"", "accepted before", dr, func(f *Facts) {
		f.Firewall.Chains = []Chain{chainOf(true, FilterRule{Matches: []Match{to(vip)}, Verdict: Accept})}
	}},
	{"", "a mark that BPF may set", dr, func(f *Facts) { f.Services[0].ServiceKey = ipvs.MarkService(7, ipvs.IPv4); f.MarksBPF = true }},
	{"persistence-skew", "", dr, func(f *Facts) {
		f.Services[0].Flags |= ipvs.Persistent
		f.Services[0].Destinations[0].Active, f.Services[0].Destinations[0].Persistent = 40, 1
	}},
	{"", "few clients, evenly", dr, func(f *Facts) {
		f.Services[0].Flags |= ipvs.Persistent
		for i := range f.Services[0].Destinations {
			f.Services[0].Destinations[i].Active, f.Services[0].Destinations[i].Persistent = 20, 1
		}
	}},
	{"sysctl-not-persistent", "forwarding", nat, func(f *Facts) { delete(f.Persistent, "net.ipv4.ip_forward") }},
	{"", "no files to be read", nat, func(f *Facts) { f.Persistent, f.BootFiles = nil, false }},
	{"", "goipvs realserver sets it again", realServer, func(f *Facts) { f.Persistent = nil; f.Hints.VIPs = []netip.Addr{vip} }},
	{"sync-silent", "interface gone", dr, func(f *Facts) { f.Daemons = []ipvs.Daemon{{State: ipvs.Master, Interface: "eth7"}} }},
	{"self-client", "", dr, func(f *Facts) {
		f.Sockets = append(f.Sockets, Socket{Protocol: ipvs.TCP, Local: netip.AddrPortFrom(vip, 40000), Remote: netip.AddrPortFrom(vip, 80), State: SynSent})
	}},
	{"udp-wildcard-source", "", realServer, func(f *Facts) {
		k := ipvs.AddrService(ipvs.UDP, netip.AddrPortFrom(vip, 53))
		f.Hints.Service = &k
		f.Sockets = append(f.Sockets, Socket{Protocol: ipvs.UDP, Local: netip.MustParseAddrPort("[::]:53"), State: Listening})
	}},
}

func dr() *Facts { return director(ipvs.DirectRoute) }

// fullNATRule gives connections of the service a local address of this host.
func fullNATRule(f *Facts) {
	f.Knobs["conntrack"] = "1"
	f.Firewall.Chains = []Chain{{Backend: "nftables", Table: "goipvs", Name: "postrouting", Hook: "postrouting", NAT: true,
		Rules: []FilterRule{{Matches: []Match{{Field: CTVIP, Ranges: exactly(vip.AsSlice())}}, Verdict: SNAT, To: dip}}}}
}

func nat() *Facts { return director(ipvs.NAT) }
func tun() *Facts { return director(ipvs.Tunnel) }

// natServer is a real server of NAT in which nothing is wrong.
func natServer() *Facts {
	f := plain()
	f.Hints.Director, f.Hints.Method = dip, "nat"
	f.Addrs = append(f.Addrs, Addr{Prefix: netip.PrefixFrom(rip, 16), Link: "eth0"})
	f.Routes = []Route{{To: client, Type: Unicast, Gateway: dip, Oif: "eth0", Src: rip}}
	return f
}

func TestRules(t *testing.T) {
	for _, tt := range broken {
		t.Run(tt.want+" "+tt.name, func(t *testing.T) {
			f := tt.facts()
			tt.change(f)
			want := []string{}
			if tt.want != "" {
				want = append(want, tt.want)
			}
			if diff := cmp.Diff(want, ids(f)); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%+v", diff, Diagnose(f).Findings)
			}
		})
	}
}

// TestFindingsAreComplete: every finding says what, why and how to mend it.
func TestFindingsAreComplete(t *testing.T) {
	for _, tt := range broken {
		f := tt.facts()
		tt.change(f)
		for _, x := range Diagnose(f).Findings {
			if x.Seen == "" || x.Why == "" || len(x.Fix) == 0 {
				t.Errorf("%s: incomplete: %+v", tt.name, x)
			}
		}
	}
}

// TestUnclearFilter: a rule that is not understood is said to be so.
func TestUnclearFilter(t *testing.T) {
	f := dr()
	f.Firewall.Chains = []Chain{chainOf(false, FilterRule{Matches: []Match{{Field: Other}}, Verdict: Drop})}
	said := func() bool {
		return slices.ContainsFunc(Diagnose(f).Unknown, func(u Unknown) bool { return strings.Contains(u.What, "packet filter") })
	}
	if !said() {
		t.Error("nothing is said of the filter")
	}
	f.Firewall.Chains[0].Rules[0].Verdict = Accept
	if said() {
		t.Error("a filter that can only accept is called unclear")
	}
}

// TestNothingKnown: of a host of which nothing is known nothing is claimed, but
// that there is no IPVS.
func TestNothingKnown(t *testing.T) {
	if diff := cmp.Diff([]string{"module-missing"}, ids(&Facts{})); diff != "" {
		t.Error(diff)
	}
	if got := ids(&Facts{IPVS: true}); len(got) > 0 {
		t.Error(got)
	}
}
