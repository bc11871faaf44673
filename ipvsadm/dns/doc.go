// Package dns asks the system's resolver for names of hosts: what is not in the
// hosts file, or all where nsswitch.conf has another order.
//
// It is apart from package ipvsadm because of package net, whose start costs a
// one-shot command as much as everything else that it does. [System] asks in the
// same process; [Serve] is the other end of a program without package net, which
// asks through a pipe.
package dns
