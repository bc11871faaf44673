package ipvsadm

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// reverseTimeout is the default of Resolver.Timeout.
const reverseTimeout = 2 * time.Second

// reverseWorkers is how many addresses are asked for at the same time: enough
// to ask for thousands in two seconds, too few to be a flood.
const reverseWorkers = 64

// want notes an address whose name the next lookup asks for.
func (r *Resolver) want(a netip.Addr) {
	if _, asked := r.reverse[a]; asked || !a.IsValid() {
		return
	}
	if r.reverse == nil {
		r.reverse = make(map[netip.Addr]string)
	}
	r.reverse[a] = ""
	r.wanted = append(r.wanted, a)
}

// lookup asks for the names of all wanted addresses. The time allowed is that
// of the Resolver, not of one lookup: it begins with the first.
func (r *Resolver) lookup() {
	wanted := r.wanted
	r.wanted = r.wanted[:0]
	if r.Hosts != "" {
		r.lookupFile(wanted)
		return
	}
	if r.deadline.IsZero() {
		r.deadline = time.Now().Add(r.timeout())
	}
	ctx, cancel := context.WithDeadline(context.Background(), r.deadline)
	defer cancel()
	maps.Copy(r.reverse, askAll(ctx, wanted, systemName))
}

func (r *Resolver) timeout() time.Duration {
	if r.Timeout == 0 {
		return reverseTimeout
	}
	return r.Timeout
}

func (r *Resolver) lookupFile(wanted []netip.Addr) {
	h, err := r.hostsFile()
	if err != nil {
		return // numbers then
	}
	for _, a := range wanted {
		r.reverse[a] = usableName(h.name[a])
	}
}

// askAll asks for each address once and returns the names it got before ctx
// ended. It waits for its workers, so ask must respect ctx.
func askAll(ctx context.Context, addrs []netip.Addr, ask func(context.Context, netip.Addr) string) map[netip.Addr]string {
	var (
		queue = make(chan netip.Addr)
		names = make(map[netip.Addr]string)
		mu    sync.Mutex
		wg    sync.WaitGroup
	)
	for range min(reverseWorkers, len(addrs)) {
		wg.Go(func() {
			for a := range queue {
				name := usableName(ask(ctx, a))
				mu.Lock()
				names[a] = name
				mu.Unlock()
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

// usableName returns the name, or "" if it has a byte that no host name has.
// Whoever answers for an address's network chooses its name: it must not be
// able to write to the terminal or to add words to a saved rule.
func usableName(name string) string {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-' && i > 0:
		default:
			return ""
		}
	}
	return name
}
