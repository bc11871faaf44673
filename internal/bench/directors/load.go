package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// load is what a director is given: services of ten real servers, checked every
// two seconds. Of every ten one never answers, and one can be killed.
type load struct {
	servers int
	dir     string // of files
}

const (
	perService = 10
	alivePort  = 80
	mortalPort = 10000 // and up: a listener for each
	interval   = 2     // seconds, also the timeout
)

func hole(i int) bool   { return i%perService == perService-1 }
func mortal(i int) bool { return i%perService == perService/2 }

// addr is where real server i is.
func addr(i int) netip.AddrPort {
	switch {
	case hole(i):
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 8, byte(i / 250), byte(i%250 + 1)}), alivePort)
	case mortal(i):
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i / 250), byte(i%250 + 1)}), uint16(mortalPort+i))
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i / 250), byte(i%250 + 1)}), alivePort)
}

var vip = netip.MustParseAddr("192.0.2.10")

func vport(service int) int { return 1000 + service }

// extra is the service that a reload adds; its one server is alive.
const extra = 9000

// services calls f for each service with its servers.
func (l load) services(more bool, f func(port int, servers []netip.AddrPort)) {
	for s := range l.servers / perService {
		var list []netip.AddrPort
		for i := range perService {
			list = append(list, addr(s*perService+i))
		}
		f(vport(s), list)
	}
	if more {
		f(extra, []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 200, 1}), alivePort)})
	}
}

func (l load) goipvs(more bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "control = %q\ncontrol_group = \"\"\nstate_dir = %q\nhold_on_mass_failure = 1.0\n[check]\ninterval = \"%ds\"\ntimeout = \"%ds\"\nfall = 1\n",
		l.dir+"/sock", l.dir+"/state", interval, interval)
	l.services(more, func(port int, servers []netip.AddrPort) {
		fmt.Fprintf(&b, "[[virtual]]\naddress = \"%v:%d\"\nscheduler = \"wrr\"\nforward = \"nat\"\n[virtual.check]\ntype = \"connect\"\n", vip, port)
		for _, a := range servers {
			fmt.Fprintf(&b, "[[virtual.real]]\naddress = \"%v\"\n", a)
		}
	})
	return b.String()
}

func (l load) keepalived(more bool) string {
	var b strings.Builder
	l.services(more, func(port int, servers []netip.AddrPort) {
		fmt.Fprintf(&b, "virtual_server %v %d {\n delay_loop %d\n lb_algo wrr\n lb_kind NAT\n protocol TCP\n", vip, port, interval)
		for _, a := range servers {
			fmt.Fprintf(&b, " real_server %v %d {\n  weight 1\n  TCP_CHECK {\n   connect_timeout %d\n   retry 0\n   delay_before_retry 1\n  }\n }\n", a.Addr(), a.Port(), interval)
		}
		b.WriteString("}\n")
	})
	return b.String()
}

func (l load) ldirectord(more bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "checktimeout = %d\ncheckinterval = %d\nquiescent = yes\nsupervised = yes\nlogfile = \"%s/log\"\n", interval, interval, l.dir)
	l.services(more, func(port int, servers []netip.AddrPort) {
		fmt.Fprintf(&b, "virtual=%v:%d\n", vip, port)
		for _, a := range servers {
			fmt.Fprintf(&b, "\treal=%v masq 1\n", a)
		}
		b.WriteString("\tscheduler=wrr\n\tprotocol=tcp\n\tservice=none\n\tchecktype=connect\n\n")
	})
	return b.String()
}
