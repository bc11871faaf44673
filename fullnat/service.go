package fullnat

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// service is a service that runs. The control plane makes and changes it under
// Engine.mu; loops read settings once per connection and choose servers under
// mu, which is held for the time of a choice and nothing slower.
type service struct {
	key      ipvs.ServiceKey
	settings atomic.Pointer[settings]
	live     atomic.Int64 // connections and sessions of all loops
	// unprompted: in the connection that began last the server spoke first.
	unprompted atomic.Bool

	mu    sync.Mutex
	sched *sched.Service
	// scheduling are its settings: its own, as the others' are under other locks.
	scheduling *sched.Settings
	// sessions are UDP sessions of the process before this one, until their
	// next datagram.
	sessions map[sessionKey]session

	// The rest is the control plane's.
	servers map[netip.AddrPort]*server // with those that are gone and have connections
	order   []*server                  // as they were added
	locals  map[netip.Addr]*local      // with those that are gone
	gone    ipvs.Stats                 // counts of servers that are forgotten
	meter   meter
	want    Service
	sockets map[ipvs.Protocol][]int32 // that listen, which loops close
}

// listening is how many sockets it has.
func (svc *service) listening() (n int) {
	for _, fds := range svc.sockets {
		n += len(fds)
	}
	return n
}

// settings are a service's options as loops need them. They are never changed,
// only replaced.
type settings struct {
	locals4, locals6 []*local
	proxy            ProxyProtocol
	trusted          []netip.Prefix
	connect          uint32 // seconds
	retries          int
	maxConns         int64
	onePacket        bool
	headEach         bool // each datagram has a PROXY header
	persistent       bool
}

func (s *settings) locals(family int) []*local {
	if family == unix.AF_INET6 {
		return s.locals6
	}
	return s.locals4
}

// server is a real server of a service. It outlives its removal while it has
// connections.
type server struct {
	addr    netip.AddrPort // as configured
	connect sockaddr       // with the port that connections go to, 0 if that is what the client addressed
	shares  []counters     // by loop
	meter   meter          // the control plane's
	removed bool           // the control plane's
}

func newServer(d ipvs.Destination, virtual uint16, loops int) *server {
	to := d.Addr
	if to.Port() == 0 {
		to = netip.AddrPortFrom(to.Addr(), virtual)
	}
	return &server{addr: d.Addr, connect: newSockaddr(to), shares: make([]counters, loops)}
}

// session is where a UDP session went, and until when that matters.
type session struct {
	server addrPort
	until  time.Time
}

// sessionKey is who has a UDP session, with what.
type sessionKey struct{ client, virtual addrPort }

type addrPort = netip.AddrPort

// of is our side of the scheduler's server.
func of(d *sched.Server) *server { return d.Data.(*server) }

// speaksFirst notes which side of a connection spoke first.
func (svc *service) speaksFirst(side int) {
	if unprompted := side == origin; svc.unprompted.Load() != unprompted {
		svc.unprompted.Store(unprompted)
	}
}
