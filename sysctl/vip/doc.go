// Package vip puts virtual addresses on interfaces, announces them, and finds
// out who answers for them on the wire.
//
// On a director the address is on the interface towards the router and Announce
// tells the neighbours. On a real server it is on a device that is not asked for
// addresses, such as lo, and must not be announced; package sysctl/realserver
// sees to the rest.
//
// Everything works in the network namespace of the calling thread and on one
// goroutine, so sysctl.Netns.Do takes it elsewhere. Adding and deleting
// addresses needs CAP_NET_ADMIN, listening and sending CAP_NET_RAW.
package vip
