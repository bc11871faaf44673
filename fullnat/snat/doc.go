// Package snat is the kernel's plane of full NAT: source NAT for connections
// that IPVS forwards by NAT.
//
// IPVS rewrites the destination, CIP -> VIP to CIP -> RIP. With the variable
// net.ipv4.vs.conntrack its connections are known to connection tracking, and a
// rule in the postrouting hook gives them a local address, LIP -> RIP, so that
// real servers need no route back. A [Plane] keeps these rules in tables of its
// own, "ip goipvs" and "ip6 goipvs", with one rule for each service:
//
//	meta l4proto tcp ct original ip daddr 192.0.2.10 ct original proto-dst 80
//	counter snat to numgen inc mod 2 map { 0 : 198.51.100.1, 1 : 198.51.100.2 }
//
// The LIPs are counted off, one connection after the other: the kernel's own
// choice from a range goes by the client's address and leaves some unused.
//
// The variable is the caller's to set (package sysctl undoes it), and the
// services and their destinations are package ipvs' business.
package snat
