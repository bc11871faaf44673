// Package fullnat is full NAT in user space: a proxy for TCP and UDP that does
// what IPVS would do if it had full NAT.
//
// An [Engine] listens on the virtual addresses (VIP) of its services. For each
// client (CIP) it chooses a real server (RIP) as the kernel's schedulers do
// (package sched) and reaches it from a local address (LIP), so that real
// servers need no route back, no VIP and no sysctls.
//
//	CIP:port -> VIP:port | LIP:port -> RIP:port
//
// [Engine.Apply] takes the whole of what is wanted, as often as that changes;
// it never disturbs the connections of what stays. Statistics, listings and
// timeouts are in the kernel's terms, so that a program can show them beside
// the kernel's own.
//
// Counters differ from the kernel's in one way: a proxy sees streams. Bytes are
// what streams carried, without headers, and packets are how many full-sized
// segments that makes.
//
// The design, and the measurements behind it, are in docs/fullnat.md.
package fullnat
