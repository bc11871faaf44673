// Package procfs reads what IPVS tells in /proc and not over netlink: the
// connection table and the totals of all services.
//
// The readers take any io.Reader and stream: a table of a million connections
// is never in memory. [Open] opens the files in a network namespace of choice.
// The connection table is walked by the kernel while packets come and go: a
// connection that moves can be seen twice or not at all.
package procfs
