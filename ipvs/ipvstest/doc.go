// Package ipvstest is for tests of programs that use package ipvs: a kernel in
// memory, and the suite that keeps it equal to the real one.
//
// [Kernel] has the methods of ipvs.Client and answers as Linux does: same
// order, same errors, same traps (a removed server that is added again has its
// counters back, an update clears what it does not name, a listing is no
// snapshot). It prints itself, so that tests compare text:
//
//	k := ipvstest.New(ipvstest.Options{})
//	program(k)
//	if got := k.String(); got != "tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n" { ... }
//
// What goes wrong on real machines goes wrong on request: [Kernel.Inject] fails
// an operation, loses its reply or spoils a listing; [Kernel.OnCall] runs code
// right before an operation, when [Kernel.Other], another process on the same
// machine, may be faster; [Kernel.Unload] takes IPVS away.
//
// [Conformance] is one table of cases that both this kernel and a real one must
// pass. Where they differ the real one is right.
package ipvstest
