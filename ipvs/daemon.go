package ipvs

import (
	"cmp"
	"net/netip"
	"time"
)

// Daemon is a connection sync daemon: a master sends connections by multicast,
// a backup receives them. A namespace may run one of each.
type Daemon struct {
	State     DaemonState
	Interface string // multicast interface; at most 15 bytes
	// SyncID lets several pairs share a network; a backup with 0 takes all. 0 to 255.
	SyncID uint32
	// MaxLen is the largest UDP payload in bytes; 0 leaves it to the kernel,
	// which takes the interface's MTU.
	MaxLen uint16
	// Group, Port and TTL: the zero values leave the kernel's 224.0.0.81, 8848, 1.
	Group netip.Addr
	Port  uint16
	TTL   uint8
}

// Timeouts are the connection timeouts of a namespace, in whole seconds. In
// SetTimeouts a zero keeps the kernel's value.
type Timeouts struct {
	TCP, TCPFin, UDP time.Duration
}

// Or is t, with o's where t has zeros.
func (t Timeouts) Or(o Timeouts) Timeouts {
	return Timeouts{cmp.Or(t.TCP, o.TCP), cmp.Or(t.TCPFin, o.TCPFin), cmp.Or(t.UDP, o.UDP)}
}

// Info is what the kernel says of its IPVS.
type Info struct {
	Version     Version
	ConnTabSize uint32 // buckets of the connection hash table
}

// Version is the kernel's IP_VS_VERSION_CODE.
type Version struct{ Major, Minor, Patch uint8 }
