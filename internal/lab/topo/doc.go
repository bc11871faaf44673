// Package topo builds small networks to test a load balancer in: clients, an
// optional router, a director and real servers, each a network namespace of its
// own, joined by veth pairs and one bridge.
//
// With a router, director and servers share one network segment and the clients
// live behind the router. That is the shape of direct routing and tunnelling;
// NAT works in it too, with the director as the servers' gateway:
//
//	client1 ── router ──┬── director (VIP)
//	client2 ──┘         ├── rs1
//	                    └── rs2 ...
//
// Without one the director stands between the clients and the servers, the
// classic NAT balancer with two arms:
//
//	client1 ── director (VIP) ──┬── rs1
//	client2 ──┘                 └── rs2 ...
//
// Addresses are always the same, so a capture can be read without a map:
//
//	servers' segment   10.9.0.0/16       fd09::/16              router 1, director 2, rs1 11, rs2 12 ...
//	client1, client2   172.16.0.0/16     2001:db8:0::/48        172.17.0.0/16, 2001:db8:1::/48 ...
//	links to clients   198.18.0.0/24     fd18::/64              gateway 1, client 2; 198.18.1.0/24 ...
//	virtual address    192.0.2.10        2001:db8:ffff::10      on the director
//
// A client may send from every address of its prefix. Everything is made with
// netlink and system calls, no program is run. It needs root and a kernel with
// network namespaces, veth and bridge; tunnels, marks and SCTP need their
// modules when they are used.
//
// The package knows nothing of package testing, so programs can use it as well.
// Tests use package topotest beside it.
package topo
