// Package snat is the kernel's plane of full NAT: source NAT for connections
// that IPVS forwards by NAT.
//
// IPVS rewrites the destination, CIP -> VIP to CIP -> RIP. With the variable
// net.ipv4.vs.conntrack its connections are known to connection tracking, and a
// rule in the postrouting hook gives them a local address, LIP -> RIP, so that
// real servers need no route back. A [Plane] keeps these rules in tables of its
// own, "ip goipvs" and "ip6 goipvs". Each service has a chain, and a map leads a
// new connection to it, so that services cost connections of others nothing and
// a change of one is no change of others:
//
//	map services {
//		type ipv4_addr . inet_proto . inet_service : verdict
//		elements = { 192.0.2.10 . tcp . 80 : goto tcp-192.0.2.10-80 }
//	}
//	chain postrouting {
//		type nat hook postrouting priority srcnat - 1
//		ct original ip daddr . meta l4proto . ct original proto-dst vmap @services
//		ct original ip daddr . meta l4proto . 0 vmap @services # every port
//	}
//	chain tcp-192.0.2.10-80 {
//		counter snat to numgen inc mod 2 map { 0 : 198.51.100.1, 1 : 198.51.100.2 }
//	}
//
// While there are services of firewall marks another chain and map, "marked" and
// "marks", lead to theirs before that, by the mark of packets that IPVS has sent.
//
// The LIPs are counted off, one connection after the other: the kernel's own
// choice from a range goes by the client's address and leaves some unused.
//
// The variable is the caller's to set (package sysctl undoes it), and the
// services and their destinations are package ipvs' business.
package snat
