package ipvstest

import (
	"errors"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// A name of 16 bytes: the kernel's limit for a scheduler is 15.
const longName = "sixteen-bytes-ab"

// serviceCases are what a service is: its key, and adding, editing and
// deleting it. ip_vs_ctl.c, ip_vs_genl_parse_service and ip_vs_add_service,
// hardly checks a virtual address, a protocol or a port.
func serviceCases() []changeCase {
	web, web6 := tcp("192.0.2.1:80"), tcp("[2001:db8::1]:80")
	const line = "tcp 192.0.2.1:80 wlc\n"
	return []changeCase{
		{name: "add tcp", change: add(web), table: line},
		{name: "add udp", change: add(udp("192.0.2.1:53")), table: "udp 192.0.2.1:53 wlc\n"},
		{name: "add sctp", change: add(vs(ipvs.SCTP, "192.0.2.1:5060")), table: "sctp 192.0.2.1:5060 wlc\n"},
		{name: "add tcp over IPv6", change: add(web6), table: "tcp [2001:db8::1]:80 wlc\n"},
		{name: "add udp over IPv6", change: add(udp("[2001:db8::1]:53")), table: "udp [2001:db8::1]:53 wlc\n"},
		{name: "add sctp over IPv6", change: add(vs(ipvs.SCTP, "[2001:db8::1]:1")), table: "sctp [2001:db8::1]:1 wlc\n"},
		{name: "add another protocol", change: add(vs(47, "192.0.2.1:80")), table: "47 192.0.2.1:80 wlc\n"},
		{name: "add port 65535", change: add(tcp("192.0.2.1:65535")), table: "tcp 192.0.2.1:65535 wlc\n"},
		{name: "add any port, persistent", change: add(tcp("192.0.2.1:0", flags(ipvs.Persistent), keep(time.Minute))),
			table: "tcp 192.0.2.1:0 wlc persistent timeout 60\n"},
		{name: "add any port, not persistent", change: add(tcp("192.0.2.1:0")), table: "tcp 192.0.2.1:0 wlc\n"},

		{name: "add the unspecified address", change: add(tcp("0.0.0.0:80")), table: "tcp 0.0.0.0:80 wlc\n"},
		{name: "add the unspecified IPv6 address", change: add(tcp("[::]:80")), table: "tcp [::]:80 wlc\n"},
		{name: "add a multicast address", change: add(udp("224.0.0.1:80")), table: "udp 224.0.0.1:80 wlc\n"},
		{name: "add a broadcast address", change: add(udp("255.255.255.255:80")), table: "udp 255.255.255.255:80 wlc\n"},
		{name: "add a link-local address", change: add(tcp("[fe80::1]:80")), table: "tcp [fe80::1]:80 wlc\n"},
		{name: "add an address with a zone", change: add(tcp("[fe80::1%lo]:80")), want: ipvs.ErrInvalid},
		{name: "add a mapped IPv4 address", change: add(tcp("[::ffff:192.0.2.1]:80")), table: "tcp [::ffff:192.0.2.1]:80 wlc\n"},
		{name: "add no address", change: add(ipvs.Service{ServiceKey: ipvs.ServiceKey{Protocol: ipvs.TCP}, Scheduler: "rr"}), want: ipvs.ErrInvalid},

		{name: "add a mark", change: add(mark(1, ipvs.IPv4)), table: "fwmark 1 wlc\n"},
		{name: "add a mark for IPv6", change: add(mark(1, ipvs.IPv6)), table: "fwmark 1 ipv6 wlc\n"},
		{name: "add the largest mark", change: add(mark(4294967295, ipvs.IPv4)), table: "fwmark 4294967295 wlc\n"},
		{name: "add one mark for both families", setup: these(add(mark(7, ipvs.IPv4, sched("rr")))), change: add(mark(7, ipvs.IPv6)),
			table: "fwmark 7 rr\nfwmark 7 ipv6 wlc\n"},
		{name: "add a mark without a family", change: add(mark(7, 0)), want: ipvs.ErrFamily},
		{name: "add a mark of another family", change: add(mark(7, 16)), want: ipvs.ErrFamily},

		{name: "add twice", setup: these(add(web)), change: add(tcp("192.0.2.1:80", sched("rr"))), want: ipvs.ErrExists, table: line},
		{name: "add a mark twice", setup: these(add(mark(7, ipvs.IPv6))), change: add(mark(7, ipvs.IPv6)), want: ipvs.ErrExists, table: "fwmark 7 ipv6 wlc\n"},
		{name: "add another protocol at one address", setup: these(add(web)), change: add(udp("192.0.2.1:80")),
			table: line + "udp 192.0.2.1:80 wlc\n"},
		{name: "add another port at one address", setup: these(add(web)), change: add(tcp("192.0.2.1:443")),
			table: line + "tcp 192.0.2.1:443 wlc\n"},
		{name: "add twice with an unknown scheduler", setup: these(add(web)), change: add(tcp("192.0.2.1:80", sched("nosuch"))), want: ipvs.ErrExists, table: line},

		{name: "edit everything", setup: these(add(web)),
			change: edit(tcp("192.0.2.1:80", sched("sh"), flags(ipvs.Persistent|ipvs.Sched1|ipvs.Sched2), keep(time.Minute), mask4(255, 255, 0, 0), pe("sip"))),
			table:  "tcp 192.0.2.1:80 sh persistent flag-1 flag-2 timeout 60 mask 255.255.0.0 pe sip\n"},
		{name: "edit resets what is not named",
			setup:  these(add(tcp("192.0.2.1:80", sched("sh"), flags(ipvs.Persistent|ipvs.Sched1), keep(time.Minute), mask4(255, 255, 0, 0), pe("sip")))),
			change: edit(web), table: line},
		{name: "edit resets what is not named, IPv6",
			setup:  these(add(tcp("[2001:db8::1]:80", flags(ipvs.Persistent), keep(time.Minute), mask6(64), pe("sip")))),
			change: edit(web6), table: "tcp [2001:db8::1]:80 wlc\n"},
		{name: "edit keeps the destinations", setup: these(add(web), addTo(web, rs("10.0.0.1:80")), addTo(web, rs("10.0.0.2:80", weight(0)))),
			change: edit(tcp("192.0.2.1:80", sched("mh"))),
			table:  "tcp 192.0.2.1:80 mh\n  10.0.0.2:80 nat weight 0\n  10.0.0.1:80 nat weight 1\n"},
		{name: "edit one of a mark's families", setup: these(add(mark(7, ipvs.IPv4)), add(mark(7, ipvs.IPv6))), change: edit(mark(7, ipvs.IPv6, sched("rr"))),
			table: "fwmark 7 wlc\nfwmark 7 ipv6 rr\n"},
		{name: "edit to what it is", setup: these(add(web)), change: edit(web), table: line},
		{name: "edit missing", change: edit(web), want: ipvs.ErrNoService},
		{name: "edit missing mark", setup: these(add(mark(7, ipvs.IPv4))), change: edit(mark(7, ipvs.IPv6)), want: ipvs.ErrNoService, table: "fwmark 7 wlc\n"},
		{name: "edit missing with an unknown scheduler", change: edit(tcp("192.0.2.1:80", sched("nosuch"))), want: ipvs.ErrNoService},

		{name: "delete", setup: these(add(web), add(web6)), change: remove(web), table: "tcp [2001:db8::1]:80 wlc\n"},
		{name: "delete by key alone", setup: these(add(web)), change: remove(ipvs.Service{ServiceKey: web.ServiceKey})},
		{name: "delete with its destinations", setup: these(add(web), addTo(web, rs("10.0.0.1:80"))), change: remove(web)},
		{name: "delete a mark", setup: these(add(mark(7, ipvs.IPv4)), add(mark(7, ipvs.IPv6))), change: remove(mark(7, ipvs.IPv4)), table: "fwmark 7 ipv6 wlc\n"},
		{name: "delete missing", change: remove(web), want: ipvs.ErrNoService},
		{name: "delete another protocol's", setup: these(add(web)), change: remove(udp("192.0.2.1:80")), want: ipvs.ErrNoService, table: line},
		{name: "delete, then add: it has no destinations", setup: these(add(web), addTo(web, rs("10.0.0.1:80")), remove(web)), change: add(web), table: line},

		{name: "no operation", change: ipvs.Change{Service: web}, want: ipvs.ErrInvalid},
		{name: "unknown operation", change: ipvs.Change{Op: 99, Service: web}, want: ipvs.ErrInvalid},
		{name: "a mark with a protocol", change: add(ipvs.Service{Scheduler: "rr", ServiceKey: ipvs.ServiceKey{Protocol: ipvs.TCP, Family: ipvs.IPv4, FWMark: 7}}), want: ipvs.ErrInvalid},
		{name: "a mark with an address", change: remove(ipvs.Service{ServiceKey: ipvs.ServiceKey{Family: ipvs.IPv4, FWMark: 7, Addr: web.Addr}}), want: ipvs.ErrInvalid},
		{name: "an address with another's family", change: add(ipvs.Service{Scheduler: "rr", ServiceKey: ipvs.ServiceKey{
			Protocol: ipvs.TCP, Family: ipvs.IPv6, Addr: web.Addr}}), want: ipvs.ErrFamily},
		{name: "a key with more than it needs", change: add(ipvs.Service{Scheduler: "rr", ServiceKey: ipvs.ServiceKey{
			Protocol: ipvs.TCP, Family: ipvs.IPv4, Addr: netip.MustParseAddrPort("192.0.2.1:80")}}), want: ipvs.ErrFamily},
	}
}

// scheduleCases are what a service does with clients: scheduler, flags,
// persistence and engine.
func scheduleCases() (cases []changeCase) {
	web := tcp("192.0.2.1:80")
	const line, line6 = "tcp 192.0.2.1:80 wlc", "tcp [2001:db8::1]:80 wlc"
	missing := errors.Join(ipvs.ErrNoScheduler, ipvs.ErrNoEngine)
	for _, name := range append(Options{}.filled().Schedulers, "none") {
		cases = append(cases, changeCase{name: "scheduler " + name, change: add(tcp("192.0.2.1:80", sched(name))), table: "tcp 192.0.2.1:80 " + name + "\n"})
	}
	v4 := func(o ...serviceOption) ipvs.Change { return add(tcp("192.0.2.1:80", o...)) }
	v6 := func(o ...serviceOption) ipvs.Change { return add(tcp("[2001:db8::1]:80", o...)) }
	return append(cases, []changeCase{
		{name: "unknown scheduler", change: v4(sched("nosuch")), want: ipvs.ErrNoScheduler},
		{name: "empty scheduler", change: v4(sched("")), want: ipvs.ErrNoScheduler},
		{name: "unknown scheduler of 15 bytes", change: v4(sched(longName[:15])), want: ipvs.ErrNoScheduler},
		{name: "scheduler of 16 bytes", change: v4(sched(longName)), want: ipvs.ErrRange},
		{name: "scheduler with a NUL", change: v4(sched("rr\x00x")), want: ipvs.ErrInvalid},
		{name: "edit to an unknown scheduler", setup: these(add(web)), change: edit(tcp("192.0.2.1:80", sched("nosuch"), keep(time.Second))),
			want: ipvs.ErrNoScheduler, table: line + "\n"},
		{name: "edit to no scheduler", setup: these(add(web)), change: edit(tcp("192.0.2.1:80", sched("none"))), table: "tcp 192.0.2.1:80 none\n"},
		{name: "edit from no scheduler", setup: these(v4(sched("none"))), change: edit(web), table: line + "\n"},

		{name: "persistent", change: v4(flags(ipvs.Persistent), keep(5*time.Minute)), table: line + " persistent timeout 300\n"},
		{name: "one packet", change: add(udp("192.0.2.1:53", flags(ipvs.OnePacket))), table: "udp 192.0.2.1:53 wlc ops\n"},
		{name: "one packet for tcp", change: v4(flags(ipvs.OnePacket)), table: line + " ops\n"},
		{name: "scheduler flags", change: v4(flags(ipvs.SchedFlags)), table: line + " flag-1 flag-2 flag-3\n"},
		{name: "unknown flags", change: v4(flags(0x80000040)), table: line + " flags 0x80000040\n"},
		{name: "the kernel's own flag", change: v4(flags(ipvs.Persistent | 2)), want: ipvs.ErrInvalid},
		{name: "edit clears flags", setup: these(v4(flags(0x8000007d))), change: edit(tcp("192.0.2.1:80", flags(ipvs.Sched2))), table: line + " flag-2\n"},

		{name: "timeout of a second", change: v4(flags(ipvs.Persistent), keep(time.Second)), table: line + " persistent timeout 1\n"},
		{name: "timeout of a month", change: v4(flags(ipvs.Persistent), keep(2678400*time.Second)), table: line + " persistent timeout 2678400\n"},
		{name: "longest timeout", change: v4(flags(ipvs.Persistent), keep(4294967*time.Second)), table: line + " persistent timeout 4294967\n"},
		{name: "timeout that the kernel would wrap", change: v4(flags(ipvs.Persistent), keep(4294968*time.Second)), want: ipvs.ErrRange},
		{name: "timeout, not persistent", change: v4(keep(time.Minute)), table: line + " timeout 60\n"},
		{name: "timeout of less than a second", change: v4(flags(ipvs.Persistent), keep(1500*time.Millisecond)), want: ipvs.ErrRange},
		{name: "negative timeout", change: v4(keep(-time.Second)), want: ipvs.ErrRange},
		{name: "timeout beyond 32 bits", change: v4(keep(1 << 32 * time.Second)), want: ipvs.ErrRange},

		{name: "mask", change: v4(mask4(255, 255, 255, 0)), table: line + " mask 255.255.255.0\n"},
		{name: "mask of nothing", change: v4(mask4(0, 0, 0, 0)), table: line + " mask 0.0.0.0\n"},
		{name: "mask with a hole", change: v4(mask4(255, 0, 255, 1)), table: line + " mask 255.0.255.1\n"},
		{name: "mask of a mark", change: add(mark(7, ipvs.IPv4, mask4(255, 255, 255, 0))), table: "fwmark 7 wlc mask 255.255.255.0\n"},
		{name: "prefix of 1", change: v6(mask6(1)), table: line6 + " mask 1\n"},
		{name: "prefix of 127", change: v6(mask6(127)), table: line6 + " mask 127\n"},
		{name: "prefix of 128", change: v6(mask6(128)), table: line6 + "\n"},
		{name: "prefix of a mark", change: add(mark(7, ipvs.IPv6, mask6(64))), table: "fwmark 7 ipv6 wlc mask 64\n"},
		{name: "prefix of 0", change: v6(mask(ipvs.Netmask4([4]byte{255, 255, 255, 127}))), want: ipvs.ErrInvalid},
		{name: "IPv4 mask for IPv6", change: v6(mask4(255, 0, 0, 0)), want: ipvs.ErrInvalid},
		{name: "edit to an IPv4 mask for IPv6", setup: these(v6()), change: edit(tcp("[2001:db8::1]:80", sched("rr"), mask4(255, 0, 0, 0))),
			want: ipvs.ErrInvalid, table: line6 + "\n"},
		{name: "an unknown scheduler comes before a bad mask", change: v6(sched("nosuch"), mask4(255, 0, 0, 0)), want: ipvs.ErrNoScheduler},

		{name: "engine", change: add(udp("192.0.2.1:5060", flags(ipvs.Persistent), keep(time.Minute), pe("sip"))),
			table: "udp 192.0.2.1:5060 wlc persistent timeout 60 pe sip\n"},
		{name: "engine for tcp, not persistent", change: v4(pe("sip")), table: line + " pe sip\n"},
		{name: "engine of a mark", change: add(mark(7, ipvs.IPv6, pe("sip"))), table: "fwmark 7 ipv6 wlc pe sip\n"},
		{name: "unknown engine", change: v4(pe("nosuch")), want: missing},
		{name: "unknown scheduler with an engine", change: v4(sched("nosuch"), pe("sip")), want: missing},
		{name: "edit to an unknown engine", setup: these(v4(pe("sip"))), change: edit(tcp("192.0.2.1:80", sched("rr"), pe("nosuch"))), want: missing, table: line + " pe sip\n"},
		{name: "engine of 16 bytes", change: v4(pe(longName)), want: ipvs.ErrRange},
	}...)
}
