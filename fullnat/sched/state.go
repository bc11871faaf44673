package sched

import (
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// State is a connection's state in the kernel's terms (enum of IP_VS_TCP_S_* in
// include/net/ip_vs.h). UDP connections stay in None. Of SCTP's states only
// these matter: SynSent for the first INIT, SynRecv for the rest of the
// handshake, Established, and Close for what follows.
type State uint8

// A TCP connection through NAT goes from SynRecv (the client's SYN) to
// Established, then to FinWait when the server ends first or CloseWait when the
// client does, to TimeWait when both have, or to Close with a RST.
const (
	None State = iota
	Established
	SynSent
	SynRecv
	FinWait
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	SynAck
)

// tcpStates has what the kernel keeps for each state of TCP
// (ip_vs_proto_tcp.c: tcp_state_name_table, tcp_state_active_table,
// tcp_timeouts).
var tcpStates = [...]struct {
	name     string
	active   bool
	lifetime time.Duration
}{
	None:        {"NONE", false, 2 * time.Second},
	Established: {"ESTABLISHED", true, 15 * time.Minute},
	SynSent:     {"SYN_SENT", true, 2 * time.Minute},
	SynRecv:     {"SYN_RECV", true, time.Minute},
	FinWait:     {"FIN_WAIT", false, 2 * time.Minute},
	TimeWait:    {"TIME_WAIT", false, 2 * time.Minute},
	Close:       {"CLOSE", false, 10 * time.Second},
	CloseWait:   {"CLOSE_WAIT", false, time.Minute},
	LastAck:     {"LAST_ACK", false, 30 * time.Second},
	Listen:      {"LISTEN", false, 2 * time.Minute},
	SynAck:      {"SYNACK", true, 2 * time.Minute},
}

// String is the kernel's name as in /proc/net/ip_vs_conn, or the number of a
// state that there is not.
func (st State) String() string {
	if int(st) < len(tcpStates) {
		return tcpStates[st].name
	}
	return strconv.Itoa(int(st))
}

// Active tells whether a connection of the protocol counts as active in the
// state. TCP does from the SYN to the first FIN or RST from either side, SCTP
// while it is established, UDP never.
func (st State) Active(p ipvs.Protocol) bool {
	switch p {
	case ipvs.TCP:
		return int(st) < len(tcpStates) && tcpStates[st].active
	case ipvs.SCTP:
		return st == Established
	}
	return false
}

// Lifetime is how long the kernel keeps a connection after its last packet, and
// counts it. A zero timeout is the kernel's default.
func Lifetime(p ipvs.Protocol, st State, t ipvs.Timeouts) time.Duration {
	set := func(d, otherwise time.Duration) time.Duration {
		if d != 0 {
			return d
		}
		return otherwise
	}
	switch {
	case p == ipvs.UDP:
		return set(t.UDP, 5*time.Minute)
	case p == ipvs.SCTP:
		return sctpLifetime(st)
	case int(st) >= len(tcpStates):
		return 0
	case st == Established:
		return set(t.TCP, tcpStates[st].lifetime)
	case st == FinWait:
		return set(t.TCPFin, tcpStates[st].lifetime)
	}
	return tcpStates[st].lifetime
}

// sctpLifetime has the values of sctp_timeouts in ip_vs_proto_sctp.c, which
// cannot be configured.
func sctpLifetime(st State) time.Duration {
	switch st {
	case Established:
		return 15 * time.Minute
	case None:
		return 2 * time.Second
	case SynSent:
		return 4 * time.Second
	}
	return 61 * time.Second
}
