// Package realserver makes this host a real server of direct routing or
// tunnelling, and undoes it.
//
// A real server has the virtual address (VIP), so that it takes packets for it,
// but must never say so to its neighbours: the director alone answers for the
// VIP. So the kernel is told to keep silent before the address appears, and the
// address is gone before the kernel may speak again.
//
// What was there before is kept in a record (package sysctl/record) before
// anything is changed. All that Add, Delete and Watch do is to compare the host
// with what the VIPs in the record need, and to settle the difference: make what
// is missing, put back what no VIP needs any more. Therefore the next of them
// finishes what a killed one began, a second run changes nothing, and VIPs that
// need the same knob do not take it from each other. What others changed is
// left to them.
package realserver
