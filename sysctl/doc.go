// Package sysctl reads and changes kernel knobs, the files under /proc/sys, of
// a network namespace, in a way that can be undone.
//
// A knob is named as sysctl(8) names it:
//
//	net.ipv4.conf.eth0.rp_filter        dots between the parts
//	net.ipv4.conf.eth0/100.rp_filter    interface eth0.100, in the same notation
//	net/ipv4/conf/eth0.100/rp_filter    slashes between the parts: the path
//
// Every change is returned as a Change, which Undo takes back, unless somebody
// else has changed the knob since:
//
//	var host sysctl.Netns // this thread's network namespace
//	change, err := host.Set(sysctl.Conf4("all", "arp_ignore"), "1")
//	...
//	err = host.Undo(change)
//
// What the kernel goes by is often not the value of one file. Effective
// combines those of the interface and of "all" as the kernel does, each knob in
// its own way.
//
// Package sysctl/vip adds and removes addresses, package sysctl/realserver puts
// both together.
package sysctl
