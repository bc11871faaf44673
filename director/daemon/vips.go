package daemon

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
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

	added    map[placed]bool       // by us
	announce map[netip.Addr]int    // how often still
	failed   map[netip.Addr]string // and said so
}

// placed is an address on an interface.
type placed struct {
	addr netip.Addr
	dev  string
}

func newVIPs(added map[string]string, save func(map[string]string), log *slog.Logger) *vips {
	v := &vips{log: log, wake: make(chan struct{}, 1), save: save,
		added: make(map[placed]bool), announce: make(map[netip.Addr]int), failed: make(map[netip.Addr]string)}
	for text, devs := range added {
		a, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		for dev := range strings.FieldsSeq(devs) {
			v.added[placed{a, dev}] = true
		}
	}
	return v
}

// saved is what newVIPs takes: for each address its interface, or several with
// blanks between them while one that it has left could not be cleared.
func (v *vips) saved() map[string]string {
	out := make(map[string]string)
	for _, p := range slices.SortedFunc(maps.Keys(v.added), func(a, b placed) int { return strings.Compare(a.dev, b.dev) }) {
		a := p.addr.String()
		out[a] = strings.TrimSpace(out[a] + " " + p.dev)
	}
	return out
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
	moving := make(map[netip.Addr]bool)
	for a, dev := range want {
		moving[a] = !v.keep(a, dev)
	}
	for p := range v.added {
		if want[p.addr] != p.dev && !moving[p.addr] { // first it must be where it is wanted
			v.remove(p)
		}
	}
	maps.DeleteFunc(v.announce, func(a netip.Addr, _ int) bool { return want[a] == "" })
	if !maps.Equal(before, v.added) {
		v.save(v.saved())
	}
}

// keep adds an address that is not there, and announces one that has come. It
// reports whether the address is there.
func (v *vips) keep(a netip.Addr, dev string) (there bool) {
	c, err := vip.Add(a, dev)
	there = err == nil
	if there && c.Added {
		v.added[placed{a, dev}] = true
		v.announce[a] = vipAnnouncements
		v.log.Info(director.VIPAdded.Brief, "event", director.VIPAdded.Name, "vip", a, "dev", dev)
	}
	if there && v.announce[a] > 0 {
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
	return there
}

func announce(a netip.Addr, dev string) error {
	w, err := vip.OnWire(dev)
	if err != nil {
		return nil // lo, a dummy: nobody asks there
	}
	return w.Announce(a, true)
}

func (v *vips) remove(p placed) {
	if _, err := vip.Delete(p.addr, p.dev); err != nil {
		v.log.Error(director.VIPFailed.Brief, "event", director.VIPFailed.Name, "vip", p.addr, "dev", p.dev, "err", err)
		return
	}
	delete(v.added, p)
	v.log.Info(director.VIPRemoved.Brief, "event", director.VIPRemoved.Name, "vip", p.addr, "dev", p.dev)
}
