package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gatherer collects the facts, part by part. What a part cannot see it notes,
// and the others go on.
type gatherer struct {
	Options
	*Facts
	rt *netlink.Handle
}

// Gather takes the snapshot that [Diagnose] judges.
func Gather(ctx context.Context, o Options) (*Facts, error) {
	runtime.LockOSThread() // the namespace is the thread's
	defer runtime.UnlockOSThread()
	g := gatherer{Options: o.filled(), Facts: &Facts{}}
	g.Facts.Hints, g.Facts.Stuck = g.Options.Hints, g.Options.Stuck
	rt, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("doctor: open routing socket: %w", err)
	}
	defer rt.Close()
	g.rt = rt
	g.host()
	start := time.Now()
	g.Before = readCounters()
	for _, part := range []func(){g.links, g.ipvs, g.conf, g.knobs, g.files, g.sockets, g.clients, g.firewall, g.marks, g.marked,
		g.routes, g.arp, g.conntrack, g.managers} {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("doctor: %w", err)
		}
		part()
	}
	if err := sleep(ctx, g.Wait-time.Since(start)); err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	g.After = readCounters()
	g.probes() // last: counters must not show them
	return g.Facts, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gatherer) host() {
	g.CPUs = runtime.NumCPU()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		g.Host = unix.ByteSliceToString(u.Nodename[:])
		_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &g.Kernel.Major, &g.Kernel.Minor)
	}
}

// note records what could not be seen. That a thing is not there is no reason.
func (g *gatherer) note(what string, err error) {
	if err == nil {
		return
	}
	why := err.Error()
	if errors.Is(err, fs.ErrPermission) {
		why = "no permission (run as root)"
	}
	for _, u := range g.Unknown {
		if u.What == what && u.Why == why {
			return
		}
	}
	g.Unknown = append(g.Unknown, Unknown{What: what, Why: why})
}

// release is the folder of the running kernel's modules.
func (g *gatherer) modules() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return g.path("lib/modules/" + unix.ByteSliceToString(u.Release[:]))
}

func (g *gatherer) path(name string) string {
	if g.Root == "/" {
		return "/" + name
	}
	return g.Root + "/" + name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
