package ipvstest

import (
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
)

// destinationCases: ip_vs_add_dest, ip_vs_edit_dest and ip_vs_del_dest.
func destinationCases() []changeCase {
	web, web6, fwm := tcp("192.0.2.1:80"), tcp("[2001:db8::1]:80"), mark(7, ipvs.IPv4)
	const line, line6 = "tcp 192.0.2.1:80 wlc\n", "tcp [2001:db8::1]:80 wlc\n"
	r1, r2, r3 := rs("10.0.0.1:80"), rs("10.0.0.2:80"), rs("10.0.0.3:80")
	const t1, t2, t3 = "  10.0.0.1:80 nat weight 1\n", "  10.0.0.2:80 nat weight 1\n", "  10.0.0.3:80 nat weight 1\n"
	full := rs("10.0.0.1:80", weight(7), limits(20, 10), encap(ipvs.GUE, 6080, ipvs.RemCsum))
	const tfull = "  10.0.0.1:80 tun weight 7 thresholds 20 10 gue port 6080 remcsum\n"
	three := these(add(web), addTo(web, r1), addTo(web, r2), addTo(web, r3))
	cases := []changeCase{
		{name: "destinations are listed newest first", setup: three[:3], change: addTo(web, r3), table: line + t3 + t2 + t1},
		{name: "destination over IPv6", setup: these(add(web6)), change: addTo(web6, rs("[2001:db8::10]:80")),
			table: line6 + "  [2001:db8::10]:80 nat weight 1\n"},
		{name: "destination of a mark", setup: these(add(fwm)), change: addTo(fwm, rs("10.0.0.1:0")), table: "fwmark 7 wlc\n  10.0.0.1:0 nat weight 1\n"},
		{name: "destination with another port", setup: these(add(web)), change: addTo(web, rs("10.0.0.1:8080")), table: line + "  10.0.0.1:8080 nat weight 1\n"},
		{name: "destination with any port", setup: these(add(web)), change: addTo(web, rs("10.0.0.1:0")), table: line + "  10.0.0.1:0 nat weight 1\n"},
		{name: "destination by direct route with another port", setup: these(add(web)), change: addTo(web, rs("10.0.0.1:81", by(ipvs.DirectRoute))),
			table: line + "  10.0.0.1:81 dr weight 1\n"},
		{name: "one address, two ports", setup: these(add(web), addTo(web, r1)), change: addTo(web, rs("10.0.0.1:81")),
			table: line + "  10.0.0.1:81 nat weight 1\n" + t1},
		{name: "one destination, two services", setup: these(add(web), addTo(web, r1), add(fwm)), change: addTo(fwm, r1),
			table: line + t1 + "fwmark 7 wlc\n" + t1},
		{name: "destination of a service without scheduler", setup: these(add(tcp("192.0.2.1:80", sched("none")))), change: addTo(web, r1),
			table: "tcp 192.0.2.1:80 none\n" + t1},
		{name: "destination twice", setup: these(add(web), addTo(web, full)), change: addTo(web, r1), want: ipvs.ErrExists, table: line + tfull},
		{name: "destination of a missing service", change: addTo(web, r1), want: ipvs.ErrNoService},
		{name: "destination of another protocol's service", setup: these(add(web)), change: addTo(udp("192.0.2.1:80"), r1), want: ipvs.ErrNoService, table: line},
		{name: "destination of a mark without a family", change: addTo(mark(7, 0), r1), want: ipvs.ErrFamily},
		{name: "everything of a destination", setup: these(add(web)), change: addTo(web, full), table: line + tfull},

		{name: "edit everything of a destination", setup: these(add(web), addTo(web, r1)), change: editIn(web, full), table: line + tfull},
		{name: "edit resets a destination", setup: these(add(web), addTo(web, full)), change: editIn(web, r1), table: line + t1},
		{name: "edit keeps the place", setup: three, change: editIn(web, rs("10.0.0.2:80", weight(0))), table: line + t3 + "  10.0.0.2:80 nat weight 0\n" + t1},
		{name: "edit missing destination", setup: three, change: editIn(web, rs("10.0.0.4:80")), want: ipvs.ErrNoDestination, table: line + t3 + t2 + t1},
		{name: "edit destination of another port", setup: three, change: editIn(web, rs("10.0.0.1:81")), want: ipvs.ErrNoDestination, table: line + t3 + t2 + t1},
		{name: "edit destination of a missing service", change: editIn(web, r1), want: ipvs.ErrNoService},
		{name: "edit does not look at the address", setup: these(add(web)), change: editIn(web, rs("224.0.0.1:80")), want: ipvs.ErrNoDestination, table: line},

		{name: "delete destination", setup: three, change: removeFrom(web, r2), table: line + t3 + t1},
		{name: "delete destination by address alone", setup: three, change: removeFrom(web, ipvs.Destination{Addr: r2.Addr}), table: line + t3 + t1},
		{name: "delete last destination", setup: three[:2], change: removeFrom(web, r1), table: line},
		{name: "delete missing destination", setup: three[:2], change: removeFrom(web, r2), want: ipvs.ErrNoDestination, table: line + t1},
		{name: "delete destination of another port", setup: three[:2], change: removeFrom(web, rs("10.0.0.1:81")), want: ipvs.ErrNoDestination, table: line + t1},
		{name: "delete destination of another family", setup: three[:2], change: removeFrom(web, rs("[2001:db8::1]:80")), want: ipvs.ErrNoDestination, table: line + t1},
		{name: "delete destination of a missing service", change: removeFrom(web, r1), want: ipvs.ErrNoService},
		{name: "deleted and added again it is the newest", setup: append(three, removeFrom(web, r1)), change: addTo(web, rs("10.0.0.1:80", weight(5))),
			table: line + "  10.0.0.1:80 nat weight 5\n" + t3 + t2},
	}
	cases = append(cases, weightCases(web, line)...)
	return append(cases, addressCases(web, web6, line, line6)...)
}

func weightCases(web ipvs.Service, line string) (cases []changeCase) {
	const addr = "10.0.0.1:80"
	setup := these(add(web), addTo(web, rs(addr)))
	old := line + "  10.0.0.1:80 nat weight 1\n"
	for _, w := range []int32{0, 1, 65535, 65536, 70000, 1<<31 - 1} {
		table := fmt.Sprintf("%s  10.0.0.1:80 nat weight %d\n", line, w)
		cases = append(cases,
			changeCase{name: fmt.Sprint("weight ", w), setup: setup[:1], change: addTo(web, rs(addr, weight(w))), table: table},
			changeCase{name: fmt.Sprint("edit to weight ", w), setup: setup, change: editIn(web, rs(addr, weight(w))), table: table})
	}
	for _, w := range []int32{-1, -1 << 31} {
		cases = append(cases,
			changeCase{name: fmt.Sprint("weight ", w), setup: setup[:1], change: addTo(web, rs(addr, weight(w))), want: ipvs.ErrRange, table: line},
			changeCase{name: fmt.Sprint("edit to weight ", w), setup: setup, change: editIn(web, rs(addr, weight(w))), want: ipvs.ErrRange, table: old})
	}
	for _, l := range []struct{ upper, lower uint32 }{{1, 0}, {100, 50}, {100, 100}, {1<<31 - 1, 1<<31 - 1}} {
		table := fmt.Sprintf("%s  10.0.0.1:80 nat weight 1 thresholds %d %d\n", line, l.upper, l.lower)
		cases = append(cases,
			changeCase{name: fmt.Sprint("thresholds ", l), setup: setup[:1], change: addTo(web, rs(addr, limits(l.upper, l.lower))), table: table},
			changeCase{name: fmt.Sprint("edit to thresholds ", l), setup: setup, change: editIn(web, rs(addr, limits(l.upper, l.lower))), table: table})
	}
	for _, l := range []struct{ upper, lower uint32 }{{0, 1}, {50, 51}, {1<<31 - 1, 1 << 31}, {1 << 31, 0}, {1<<32 - 1, 1<<32 - 1}} {
		cases = append(cases,
			changeCase{name: fmt.Sprint("thresholds ", l), setup: setup[:1], change: addTo(web, rs(addr, limits(l.upper, l.lower))), want: ipvs.ErrRange, table: line},
			changeCase{name: fmt.Sprint("edit to thresholds ", l), setup: setup, change: editIn(web, rs(addr, limits(l.upper, l.lower))), want: ipvs.ErrRange, table: old})
	}
	return append(cases, []changeCase{
		{name: "bad weight comes before exists", setup: setup, change: addTo(web, rs(addr, weight(-1))), want: ipvs.ErrRange, table: old},
		{name: "bad thresholds come before missing", setup: setup[:1], change: editIn(web, rs(addr, limits(1, 2))), want: ipvs.ErrRange, table: line},
		{name: "bad thresholds come before a bad address", setup: setup[:1], change: addTo(web, rs("224.0.0.1:80", limits(1, 2))), want: ipvs.ErrRange, table: line},
		{name: "missing service comes before bad thresholds", change: addTo(web, rs(addr, limits(1, 2))), want: ipvs.ErrNoService},
	}...)
}

// addressCases: a destination must be unicast or local (ip_vs_new_dest).
func addressCases(web, web6 ipvs.Service, line, line6 string) (cases []changeCase) {
	for _, a := range []string{"10.0.0.255:80", "127.0.0.1:80", "169.254.0.1:80", "0.1.2.3:80", "240.0.0.1:80", "192.0.2.1:80"} {
		cases = append(cases, changeCase{name: "address " + a, setup: these(add(web)), change: addTo(web, rs(a)), table: line + "  " + a + " nat weight 1\n"})
	}
	for _, a := range []string{"0.0.0.0:80", "224.0.0.1:80", "239.255.255.255:80", "255.255.255.255:80", "127.255.255.255:80"} {
		cases = append(cases, changeCase{name: "address " + a, setup: these(add(web)), change: addTo(web, rs(a)), want: ipvs.ErrInvalid, table: line})
	}
	for _, a := range []string{"[::1]:80", "[fc00::1]:80", "[fec0::1]:80", "[::10.0.0.1]:80", "[64:ff9b::a00:1]:80", "[2001:db8::1]:80"} {
		d := rs(a)
		cases = append(cases, changeCase{name: "address " + a, setup: these(add(web6)), change: addTo(web6, d), table: line6 + "  " + d.Addr.String() + " nat weight 1\n"})
	}
	for _, a := range []string{"[::]:80", "[ff02::1]:80", "[fe80::1]:80", "[2001:db8::1%lo]:80"} {
		cases = append(cases, changeCase{name: "address " + a, setup: these(add(web6)), change: addTo(web6, rs(a)), want: ipvs.ErrInvalid, table: line6})
	}
	return append(cases, changeCase{name: "mapped address", setup: these(add(web6)), change: addTo(web6, rs("[::ffff:10.0.0.1]:80")), want: ipvs.ErrFamily, table: line6},
		changeCase{name: "no address", setup: these(add(web)), change: addTo(web, ipvs.Destination{Weight: 1}), want: ipvs.ErrInvalid, table: line})
}

// tunnelCases: forwarding methods, encapsulations, and destinations of another
// family than their service's (ip_vs_genl_set_cmd).
func tunnelCases() (cases []changeCase) {
	web, web6 := tcp("192.0.2.1:80"), tcp("[2001:db8::1]:80")
	const line, line6 = "tcp 192.0.2.1:80 wlc\n", "tcp [2001:db8::1]:80 wlc\n"
	const addr, addr6 = "10.0.0.1:80", "[2001:db8::10]:80"
	for _, m := range []ipvs.Method{ipvs.NAT, ipvs.Local, ipvs.Tunnel, ipvs.DirectRoute, ipvs.Bypass} {
		table := line + "  10.0.0.1:80 " + m.String() + " weight 1\n"
		cases = append(cases,
			changeCase{name: "method " + m.String(), setup: these(add(web)), change: addTo(web, rs(addr, by(m))), table: table},
			changeCase{name: "edit to method " + m.String(), setup: these(add(web), addTo(web, rs(addr, by(ipvs.DirectRoute)))), change: editIn(web, rs(addr, by(m))), table: table})
	}
	for _, e := range []struct {
		d    ipvs.Destination
		text string
	}{
		{rs(addr, encap(ipvs.IPIP, 0, 0)), ""},
		{rs(addr, encap(ipvs.GUE, 6080, 0)), " gue port 6080 none"},
		{rs(addr, encap(ipvs.GUE, 65535, ipvs.Csum)), " gue port 65535 csum"},
		{rs(addr, encap(ipvs.GUE, 1, ipvs.RemCsum)), " gue port 1 remcsum"},
		{rs(addr, encap(ipvs.GRE, 0, 0)), " gre port 0 none"},
		{rs(addr, encap(ipvs.GRE, 0, ipvs.Csum)), " gre port 0 csum"},
		{rs(addr, encap(9, 5, 0x8001)), " 9 port 5 32769"},
	} {
		table := line + "  10.0.0.1:80 tun weight 1" + e.text + "\n"
		cases = append(cases,
			changeCase{name: "tunnel" + e.text, setup: these(add(web)), change: addTo(web, e.d), table: table},
			changeCase{name: "edit to tunnel" + e.text, setup: these(add(web), addTo(web, rs(addr, encap(ipvs.GUE, 7, ipvs.Csum)))), change: editIn(web, e.d), table: table})
	}
	tun, tun6 := rs(addr, by(ipvs.Tunnel)), rs(addr6, by(ipvs.Tunnel))
	return append(cases, []changeCase{
		{name: "full NAT", setup: these(add(web)), change: addTo(web, rs(addr, by(ipvs.FullNAT))), want: ipvs.ErrUnsupported, table: line},
		{name: "method of more than three bits", setup: these(add(web)), change: addTo(web, rs(addr, by(8))), want: ipvs.ErrRange, table: line},
		{name: "gue without a port", setup: these(add(web)), change: addTo(web, rs(addr, encap(ipvs.GUE, 0, 0))), want: ipvs.ErrInvalid, table: line},
		{name: "edit to gue without a port", setup: these(add(web), addTo(web, tun)), change: editIn(web, rs(addr, encap(ipvs.GUE, 0, 0))),
			want: ipvs.ErrInvalid, table: line + "  10.0.0.1:80 tun weight 1\n"},
		{name: "IPv6 destination of an IPv4 service", setup: these(add(web)), change: addTo(web, tun6), table: line + "  [2001:db8::10]:80 tun weight 1\n"},
		{name: "IPv4 destination of an IPv6 service", setup: these(add(web6)), change: addTo(web6, tun), table: line6 + "  10.0.0.1:80 tun weight 1\n"},
		{name: "IPv4 destination of an IPv6 mark by gue", setup: these(add(mark(7, ipvs.IPv6))), change: addTo(mark(7, ipvs.IPv6), rs(addr, encap(ipvs.GUE, 6080, 0))),
			table: "fwmark 7 ipv6 wlc\n  10.0.0.1:80 tun weight 1 gue port 6080 none\n"},
		{name: "destinations of both families", setup: these(add(web), addTo(web, rs(addr))), change: addTo(web, tun6),
			table: line + "  [2001:db8::10]:80 tun weight 1\n  10.0.0.1:80 nat weight 1\n"},
		{name: "edit a destination of another family", setup: these(add(web), addTo(web, tun6)), change: editIn(web, rs(addr6, by(ipvs.Tunnel), weight(0))),
			table: line + "  [2001:db8::10]:80 tun weight 0\n"},
		{name: "delete a destination of another family", setup: these(add(web), addTo(web, tun6)), change: removeFrom(web, tun6), table: line},
		{name: "NAT to another family", setup: these(add(web)), change: addTo(web, rs(addr6)), want: ipvs.ErrFamily, table: line},
		{name: "direct route to another family", setup: these(add(web6)), change: addTo(web6, rs(addr, by(ipvs.DirectRoute))), want: ipvs.ErrFamily, table: line6},
		{name: "edit to NAT to another family", setup: these(add(web), addTo(web, tun6)), change: editIn(web, rs(addr6)),
			want: ipvs.ErrFamily, table: line + "  [2001:db8::10]:80 tun weight 1\n"},
	}...)
}
