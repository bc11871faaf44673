// Package tproxy gives sockets of this machine the packets of services that no
// socket can be bound to: those of a firewall mark, and those of every port of
// an address. It keeps nf_tables rules (TPROXY) in tables of its own, "ip
// goipvs-tproxy" and "ip6 goipvs-tproxy":
//
//	chain prerouting { type filter hook prerouting priority mangle + 1
//	    tproxy to 127.0.0.1:meta mark . meta l4proto map @marks accept
//	    ip daddr . meta l4proto . th dport @exact accept
//	    tproxy to 127.0.0.1:ip daddr . meta l4proto map @addresses accept
//	}
//
// So a mark goes before an address, and a port that has a service of its own
// before every port, as in IPVS. The chain is behind those that set marks at the
// usual priority (mangle). What a packet costs does not depend on how many
// services there are.
//
// Packets of a connection that has a socket already go to that, and those whose
// listening socket is gone go on as if there were no rule: rules that outlive
// their sockets do no harm.
package tproxy
