package daemon

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/ipvs"
)

// Resolving: how long one question may take, and how often it is asked again.
const (
	resolveTimeout = 2 * time.Second
	resolveEvery   = 30 * time.Second
)

// names knows the addresses of host names. What a name once was it stays until
// the resolver says something else: that it says nothing, or that there is no
// such name, changes nothing.
type names struct {
	log     *slog.Logger
	resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
	wake    chan struct{}

	mu     sync.Mutex
	known  map[string]netip.Addr // by key
	hosts  []config.Host
	failed map[string]bool // said to have failed
}

func newNames(known map[string]netip.Addr, log *slog.Logger) *names {
	n := &names{log: log, resolve: net.DefaultResolver.LookupNetIP, wake: make(chan struct{}, 1), known: make(map[string]netip.Addr), failed: make(map[string]bool)}
	maps.Copy(n.known, known)
	return n
}

// nameKey is the key of a host in the maps and in the state file.
func nameKey(h config.Host) string {
	switch h.Family {
	case ipvs.IPv4:
		return h.Name + " ipv4"
	case ipvs.IPv6:
		return h.Name + " ipv6"
	}
	return h.Name
}

// want says which names matter from now on.
func (n *names) want(hosts []config.Host) {
	n.mu.Lock()
	n.hosts = hosts
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *names) lookup(h config.Host) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.known[nameKey(h)]
	return a, ok
}

func (n *names) addresses() map[string]netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make(map[string]netip.Addr)
	for _, h := range n.hosts {
		if a, ok := n.known[nameKey(h)]; ok {
			out[nameKey(h)] = a
		}
	}
	return out
}

// first resolves those hosts that have no address yet, all at once, and waits
// no longer than the patience.
func (n *names) first(ctx context.Context, hosts []config.Host, patience time.Duration) {
	var unknown []config.Host
	for _, h := range hosts {
		if _, ok := n.lookup(h); !ok {
			unknown = append(unknown, h)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n.ask(ctx, unknown)
}

// run asks again and again until ctx ends, and calls changed when an address is
// another one.
func (n *names) run(ctx context.Context, changed func()) {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		n.mu.Lock()
		hosts := n.hosts
		n.mu.Unlock()
		if n.ask(ctx, hosts) {
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.wake:
		}
	}
}

// ask resolves hosts, some at a time, and reports whether an address changed.
func (n *names) ask(ctx context.Context, hosts []config.Host) (changed bool) {
	var all sync.WaitGroup
	var mu sync.Mutex
	few := make(chan struct{}, 32)
	for _, h := range hosts {
		few <- struct{}{}
		all.Go(func() {
			defer func() { <-few }()
			if n.one(ctx, h) {
				mu.Lock()
				changed = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return changed
}

func (n *names) one(ctx context.Context, h config.Host) (changed bool) {
	network := map[ipvs.Family]string{ipvs.IPv4: "ip4", ipvs.IPv6: "ip6"}[h.Family]
	if network == "" {
		network = "ip"
	}
	once, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	list, err := n.resolve(once, network, h.Name)
	if ctx.Err() != nil && err != nil {
		return false // we have no more time, which says nothing
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := nameKey(h)
	old, had := n.known[key]
	if err != nil || len(list) == 0 {
		if !n.failed[key] {
			n.failed[key] = true
			n.log.Warn(director.ResolveFailed.Brief, "event", director.ResolveFailed.Name, "host", h.Name, "address", old, "err", err)
		}
		return false
	}
	n.failed[key] = false
	a := choose(list, old)
	if had && a == old {
		return false
	}
	n.known[key] = a
	if had {
		n.log.Info(director.AddressChanged.Brief, "event", director.AddressChanged.Name, "host", h.Name, "was", old, "address", a)
	}
	return true
}

// choose takes one of several addresses: the old one as long as it is among
// them, so that an answer in another order changes nothing.
func choose(list []netip.Addr, old netip.Addr) netip.Addr {
	for i := range list {
		list[i] = list[i].Unmap()
	}
	if slices.Contains(list, old) {
		return old
	}
	return slices.MinFunc(list, netip.Addr.Compare)
}
