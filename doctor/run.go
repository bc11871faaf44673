package doctor

import (
	"context"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Options say what to look at. The zero value is everything, on the calling
// thread's network namespace.
type Options struct {
	// Service is the one service to look at and to send probes to; nil for all.
	Service *ipvs.ServiceKey
	// Hints about this host as a real server; Service need not be repeated.
	Hints Hints
	// Wait is how long answers to probes are waited for, and at least how long
	// counters are watched; 0 means one second.
	Wait time.Duration
	// Stuck is how long a connection may wait for its answer; 0 means 3 s.
	Stuck time.Duration
	// Root is where etc and lib are, "" for /.
	Root string
}

func (o Options) filled() Options {
	if o.Wait <= 0 {
		o.Wait = time.Second
	}
	if o.Stuck <= 0 {
		o.Stuck = 3 * time.Second
	}
	if o.Root == "" {
		o.Root = "/"
	}
	o.Hints.Service = o.Service
	return o
}

// Run gathers the facts and judges them. It works on the calling thread's
// network namespace and changes nothing on the host. It needs root to see
// everything; without, and without IPVS, it says what it did not see. The error
// is that of ctx, or of a host of which nothing at all can be read.
func Run(ctx context.Context, o Options) (Report, error) {
	f, err := Gather(ctx, o)
	if err != nil {
		return Report{}, err
	}
	return Diagnose(f), nil
}

// internet stands for a client far away, when none is known (RFC 5737, 3849).
var internet = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
