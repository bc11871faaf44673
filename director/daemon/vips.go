package daemon

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// VIPs are looked after this often, and announced this often after they came.
const (
	vipEvery         = 2 * time.Second
	vipAnnouncements = 3
)

// vips keeps virtual addresses on the interfaces that the file names, on a
// goroutine of its own.
type vips struct {
	log  *slog.Logger
	wake chan struct{}
	save func(map[string]string) // what is to be taken away by a later run

	mu   sync.Mutex
	want map[netip.Addr]string

	added    map[netip.Addr]string // by us, on which interface
	announce map[netip.Addr]int    // how often still
	failed   map[netip.Addr]string // and said so
}

func newVIPs(added map[string]string, save func(map[string]string), log *slog.Logger) *vips {
	v := &vips{log: log, wake: make(chan struct{}, 1), save: save,
		added: make(map[netip.Addr]string), announce: make(map[netip.Addr]int), failed: make(map[netip.Addr]string)}
	for text, dev := range added {
		if a, err := netip.ParseAddr(text); err == nil {
			v.added[a] = dev
		}
	}
	return v
}

// set says which addresses are to be where; it does not wait.
func (v *vips) set(want map[netip.Addr]string) {
	v.mu.Lock()
	v.want = want
	v.mu.Unlock()
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// run keeps them there until ctx ends. It leaves them: what becomes of them at
// the end the director decides, by wanting none.
func (v *vips) run(ctx context.Context) {
	tick := time.NewTicker(vipEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			v.once()
			return
		case <-v.wake:
		case <-tick.C:
		}
		v.once()
	}
}

func (v *vips) once() {
	v.mu.Lock()
	want := v.want
	v.mu.Unlock()
	if want == nil {
		return // nobody has said yet
	}
	before := maps.Clone(v.added)
	for a, dev := range want {
		v.keep(a, dev)
	}
	for a, dev := range v.added {
		if want[a] != dev {
			v.remove(a, dev)
		}
	}
	if !maps.Equal(before, v.added) {
		out := make(map[string]string)
		for a, dev := range v.added {
			out[a.String()] = dev
		}
		v.save(out)
	}
}

// keep adds an address that is not there, and announces one that has come.
func (v *vips) keep(a netip.Addr, dev string) {
	c, err := vip.Add(a, dev)
	if err == nil && c.Added {
		v.added[a] = dev
		v.announce[a] = vipAnnouncements
		v.log.Info(director.VIPAdded.Brief, "event", director.VIPAdded.Name, "vip", a, "dev", dev)
	}
	if err == nil && v.announce[a] > 0 {
		v.announce[a]--
		err = announce(a, dev)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != v.failed[a] && text != "" {
		v.log.Error(director.VIPFailed.Brief, "event", director.VIPFailed.Name, "vip", a, "dev", dev, "err", err)
	}
	v.failed[a] = text
}

func announce(a netip.Addr, dev string) error {
	w, err := vip.OnWire(dev)
	if err != nil {
		return nil // lo, a dummy: nobody asks there
	}
	return w.Announce(a, true)
}

func (v *vips) remove(a netip.Addr, dev string) {
	if _, err := vip.Delete(a, dev); err != nil {
		v.log.Error(director.VIPFailed.Brief, "event", director.VIPFailed.Name, "vip", a, "dev", dev, "err", err)
		return
	}
	delete(v.added, a)
	delete(v.announce, a)
	v.log.Info(director.VIPRemoved.Brief, "event", director.VIPRemoved.Name, "vip", a, "dev", dev)
}
