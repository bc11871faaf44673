// Package ipvs reads and changes the Linux kernel's IP Virtual Server table.
//
// A [Table] is the one model: virtual services, each with its destinations
// (real servers). [Dial] gives a [Client] that speaks the kernel's generic
// netlink family IPVS in one network namespace: it lists the table, applies a
// sequence of changes in few system calls, and reads and sets what belongs to
// the table as a whole (timeouts, sync daemons, counters).
//
// [Plan] compares two tables and gives the changes between them; [Reconcile]
// reads a kernel, plans and applies. A kernel listing is not a snapshot: while
// others write, entries that never changed can be missing from it, and the
// kernel does not say so. [Read] therefore lists until two listings agree, and
// when they never do only additions are safe.
//
// Constants and attribute names follow include/uapi/linux/ip_vs.h, behaviour
// net/netfilter/ipvs/ip_vs_ctl.c.
package ipvs
