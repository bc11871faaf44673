package fullnat

import (
	"net/netip"
	"sync/atomic"
)

// local is a LIP of one service.
type local struct {
	addr   netip.Addr
	bind   sockaddr // with port 0
	shares []localShare
	scarce bool // the control plane's: it was warned of
}

// localShare is what one loop did with a LIP, on a cache line of its own.
type localShare struct {
	live      atomic.Int64  // connections that have it now
	total     atomic.Uint64 // connections that had it
	conflicts atomic.Uint64 // connects for which no port was free
	unusable  atomic.Uint64 // binds that failed: not an address of this machine
	_         [32]byte
}

func newLocal(a netip.Addr, loops int) *local {
	return &local{addr: a, bind: newSockaddr(netip.AddrPortFrom(a, 0)), shares: make([]localShare, loops)}
}

// pick takes one of the LIPs of a server's family: of two random ones that with
// fewer connections. Counting them off would go in step with a scheduler that
// counts, and show each server always the same LIP. nil means the kernel
// chooses.
func (l *loop) pick(locals []*local) *local {
	switch n := uint32(len(locals)); n {
	case 0:
		return nil
	case 1:
		return locals[0]
	default:
		r := l.random()
		a, b := locals[r%n], locals[(r%n+1+(r>>16)%(n-1))%n]
		if b.shares[l.id].live.Load() < a.shares[l.id].live.Load() {
			return b
		}
		return a
	}
}

// random is xorshift: even enough, and nobody gains by guessing it.
func (l *loop) random() uint32 {
	x := l.seed
	x ^= x << 13
	x ^= x >> 17
	x ^= x << 5
	l.seed = x
	return x
}
