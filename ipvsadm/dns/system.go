package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// System asks what the system asks: hosts file and DNS in the order of
// nsswitch.conf. It is an ipvsadm.HostNames.
type System struct{}

// addressTimeout bounds one question for an address. A rule cannot go on without
// the answer, so it is longer than resolv.conf's usual 5 s twice.
const addressTimeout = 15 * time.Second

// Address returns the first address of that family that a host name has. When
// DNS was asked the error is a *net.DNSError.
func (System) Address(name string, f ipvs.Family) (netip.Addr, error) {
	network := "ip4"
	if f == ipvs.IPv6 {
		network = "ip6"
	}
	ctx, cancel := context.WithTimeout(context.Background(), addressTimeout)
	defer cancel()
	a, err := net.DefaultResolver.LookupNetIP(ctx, network, name)
	if err != nil {
		return netip.Addr{}, err
	}
	return a[0].Unmap(), nil
}

// Names returns the names of those addresses that have one and whose answer
// comes before the deadline.
func (System) Names(deadline time.Time, addrs []netip.Addr) map[netip.Addr]string {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return askAll(ctx, addrs, systemName)
}

// workers is how many addresses are asked for at the same time: enough to ask
// for thousands in two seconds, too few to be a flood.
const workers = 64

// askAll asks for each address once and returns the names it got before ctx
// ended. It waits for its workers, so ask must respect ctx.
func askAll(ctx context.Context, addrs []netip.Addr, ask func(context.Context, netip.Addr) string) map[netip.Addr]string {
	var (
		queue = make(chan netip.Addr)
		names = make(map[netip.Addr]string)
		mu    sync.Mutex
		wg    sync.WaitGroup
	)
	for range min(workers, len(addrs)) {
		wg.Go(func() {
			for a := range queue {
				if name := ask(ctx, a); name != "" {
					mu.Lock()
					names[a] = name
					mu.Unlock()
				}
			}
		})
	}
	feed(ctx, queue, addrs)
	wg.Wait()
	return names
}

// feed hands out the addresses until ctx ends, then closes the queue.
func feed(ctx context.Context, queue chan<- netip.Addr, addrs []netip.Addr) {
	defer close(queue)
	for _, a := range addrs {
		select {
		case queue <- a:
		case <-ctx.Done():
			return
		}
	}
}

// systemName is the system's name for an address, "" when it has none.
func systemName(ctx context.Context, a netip.Addr) string {
	names, err := net.DefaultResolver.LookupAddr(ctx, a.String())
	if err != nil || len(names) == 0 {
		return ""
	}
	return strings.TrimSuffix(names[0], ".")
}
