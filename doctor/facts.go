package doctor

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Facts are a snapshot of what one host can see. It is plain data: rules read
// it and ask nothing else, so tests write it by hand. The zero value is a host
// of which nothing is known.
type Facts struct {
	Host   string
	Kernel Release
	CPUs   int
	Hints  Hints
	// Stuck is how long a connection may wait for its answer.
	Stuck time.Duration

	// IPVS tells whether the kernel has it; what follows is empty if not.
	IPVS        bool
	IPVSFile    bool // the module is on disk, ready to be loaded
	Services    []Service
	Others      int  // services that were left out, with a service in Hints
	TableHidden bool // there is IPVS, but its table could not be read
	Timeouts    ipvs.Timeouts
	Daemons     []ipvs.Daemon
	Buckets     uint32 // of the connection table
	Connections []Connections
	Synced      int               // connections that a sync daemon brought
	Knobs       map[string]string // net.ipv4.vs by name; a missing one is unknown
	Apps        []string          // application helpers, such as ftp
	Schedulers  map[string]bool   // asked for by Hints: whether it can be had

	Links      []Link
	Conf       map[string]map[string]int // net.ipv4.conf: interface (all, default too), knob
	Conf6      map[string]map[string]int // net.ipv6.conf
	Net        map[string]string         // other knobs by full name
	Persistent map[string]string         // what the files of sysctl.d set, by full name
	BootLoads  map[string]bool           // modules that modules-load.d names
	BootFiles  bool                      // the two above were there to be read
	Legacy     []string                  // ifcfg files of lo aliases that announce themselves

	Addrs      []Addr
	Clients    []netip.Addr // addresses that clients have or may have
	Routes     []Route      // answers of the kernel
	Neighbours []Neighbour
	ARP        ARP
	Sockets    []Socket // nil: not known
	Firewall   Firewall
	Conntrack  Conntrack
	Marks      []uint32 // that traffic control sets on incoming packets
	MarksBPF   bool     // programs are attached there, which may set any mark
	Diverted   []uint32 // marks of services of full NAT in user space, by goipvsd's rules
	Marked     []Marked // what packets with a service's mark are to, as far as rules name it
	Managers   []Process

	// Before and After are counters at the start and the end of gathering:
	// "Ip.InAddrErrors", "TcpExt.IPReversePathFilter", "Ip6InAddrErrors",
	// "rt_cache.in_martian_src", "nf_conntrack.drop".
	Before, After map[string]uint64

	Probes  []Probe
	Unknown []Unknown
}

// Hints are what the operator says, or goipvs has recorded, about a host that
// cannot be seen on it.
type Hints struct {
	Service    *ipvs.ServiceKey // the one service to look at
	VIPs       []netip.Addr     // addresses this host holds as a real server
	Method     string           // how it is forwarded to as a real server: nat, dr, tun; or ""
	Tunnel     string           // ipip, gre, gue; or ""
	TunnelPort uint16           // UDP port of gue
	Director   netip.Addr       // the director of this real server
	Schedulers []string         // schedulers that are going to be used
}

// Release is the kernel's version.
type Release struct{ Major, Minor int }

// Before tells whether the kernel is older. An unknown one is not.
func (r Release) Before(major, minor int) bool {
	return r != Release{} && (r.Major < major || r.Major == major && r.Minor < minor)
}

// Service is a virtual service with its real servers.
type Service struct {
	ipvs.ServiceInfo
	Destinations []ipvs.DestinationInfo
}

// Marked is an address, or the first of some, that rules give a mark to packets to.
type Marked struct {
	Mark  uint32
	Addr  netip.Addr
	Local bool // this host takes packets to it, with that mark, for its own
}

// Connections are the entries of the connection table that have all of this in
// common.
type Connections struct {
	Protocol             ipvs.Protocol
	Virtual, Destination netip.AddrPort
	Mark                 uint32 // of a template
	State                string
	Template             bool // persistence templates, not connections
	Own                  bool // of programs of this host
	Count                int
	Idle                 time.Duration    // SYN_RECV: the longest since a packet came
	Clients              []netip.AddrPort // up to eight of them
}

// Link is a network interface.
type Link struct {
	Name     string
	Index    int
	Kind     string // veth, dummy, ipip, gre ...
	Up       bool
	Loopback bool
	ARP      bool // resolves addresses by ARP itself: no port of a bridge
	MTU      int
	MAC      string
	Remote   netip.Addr // of a tunnel to one peer only
	LRO      bool
}

// Addr is an address of an interface.
type Addr struct {
	netip.Prefix
	Link      string
	Secondary bool
	DADFailed bool
	Tentative bool
}

// Route is the kernel's answer to the question where a packet to To goes, if it
// is from From (when valid) and came in by Iif (when not empty).
type Route struct {
	To, From netip.Addr
	Iif      string

	Type    RouteType
	Gateway netip.Addr
	Oif     string
	Src     netip.Addr
	MTU     int // 0: the interface's
	AdvMSS  int // 0: from the MTU
}

// RouteType is what becomes of the packet. The zero value: it was not asked.
type RouteType uint8

// Local: it is for this host. Unicast: it is sent on. Filtered: the reverse path
// filter or the martian test drops it. Unreachable: there is no route.
const (
	Local RouteType = iota + 1
	Unicast
	Filtered
	Unreachable
)

// Neighbour is an entry of the ARP or neighbour cache.
type Neighbour struct {
	Addr  netip.Addr
	MAC   string
	Link  string
	Alive bool // REACHABLE, STALE, DELAY, PROBE, PERMANENT; not FAILED or INCOMPLETE
}

// ARP are the answers to who-has probes, ARP or neighbour discovery, and what
// was overheard meanwhile.
type ARP struct {
	Asked   []netip.Addr // probed; an address that is not here is unknown
	Answers []ARPAnswer
	Heard   []ARPAnswer // others that spoke as one of the VIPs unasked
	// Routed are hosts that sent this one a packet whose source is a VIP.
	Routed []ARPAnswer
}

// ARPAnswer is a claim to have an address.
type ARPAnswer struct {
	Addr netip.Addr
	MAC  string
	Link string
	// ToAny: it answered the probe without a sender address, which a proxy
	// does not answer. Gratuitous, Request: only of what was overheard.
	ToAny, Gratuitous, Request bool
}

// Socket is a socket of this host that listens or waits for its connection.
type Socket struct {
	Protocol      ipvs.Protocol
	Local, Remote netip.AddrPort
	State         SocketState
}

// SocketState is what doctor wants to know of a socket.
type SocketState uint8

// Listening sockets of UDP are those that are bound and not connected.
const (
	Listening SocketState = iota + 1
	SynSent
	SynReceived
)

// Conntrack is the state of connection tracking.
type Conntrack struct {
	Loaded     bool
	Count, Max int
	// PerLIP counts entries whose answers go to a local address that is not the
	// virtual one: by that address and the real server.
	PerLIP map[LIP]int
}

// LIP is a local address towards one real server.
type LIP struct {
	Addr netip.Addr
	To   netip.AddrPort
}

// Process is a program that is known to write IPVS tables.
type Process struct {
	Name string
	PID  int
}
