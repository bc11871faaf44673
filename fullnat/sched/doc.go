// Package sched chooses real servers exactly as the Linux kernel's IPVS does.
//
// A [Service] holds the servers of one virtual service and everything a choice
// depends on: the scheduler's state, connection counters, thresholds and the
// overload flag they set, persistence templates, and the servers that were
// deleted but still have connections. The caller owns the connections: it asks
// [Service.Choose] for a server, holds it with [Service.Bind], reports what
// becomes of the connection with [Service.SetState], and when the kernel would
// forget it, which is [Lifetime] after its last packet, calls [Service.End].
//
//	choice, ok := s.Choose(now, client, virtual)
//	if !ok {
//		// refuse the connection
//	}
//	s.Bind(now, &conn, choice, ipvs.TCP)
//	s.SetState(&conn, sched.SynRecv)
//
// A connection that is closed is not over: the kernel counts it as inactive for
// two minutes more, and schedulers and thresholds see that. Who calls End when
// the socket closes chooses differently.
//
// The package does no I/O and has no clock; time is an argument. It does not
// look up known connections: packets of those never come here.
//
// Choices were compared with Linux 6.1.176 and 6.1.192 (x86-64), which differ in
// one point: see Settings.PromptThresholds. They differ from the kernel's where
// that is not deterministic: on several CPUs it may read counters between another
// CPU's choice and its binding.
package sched
