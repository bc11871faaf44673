// Package director keeps virtual services alive: it takes the operator's file
// and the verdicts of health checks, works out which IPVS table they ask for,
// and makes the kernel's table that.
//
// Its heart is pure. A Memory is what is known of a service's real servers: the
// last verdict, since when, what an operator said. Decide turns a
// VirtualService, its Memory and what the kernel has into the wanted entry of
// the table. Everything that waits, for networks, files, people or the clock,
// is outside of it and sends events to one goroutine, which owns all state,
// decides anew and applies the difference.
//
// The rules, in the order they count for one real server:
//
//  1. what an operator said through goipvs (drain, maintain, weight), then a
//     file in maintenance_dir;
//  2. the last definite verdict of its checks; unknown, the director's own
//     trouble, changes nothing;
//  3. without a verdict yet: what the kernel had when the daemon started, else
//     the file's unchecked.
//
// docs/daemon.md tells operators the same.
package director
