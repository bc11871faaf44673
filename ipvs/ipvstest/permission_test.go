package ipvstest

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// everything is one of each operation.
func everything() []step {
	web := tcp("192.0.2.1:80")
	out := []step{
		{"info", func(c Client) error { _, err := c.Info(); return err }},
		{"services", func(c Client) error { _, err := c.Services(); return err }},
		{"service", func(c Client) error { _, err := c.Service(web.ServiceKey); return err }},
		{"destinations", func(c Client) error { _, err := c.Destinations(web.ServiceKey, nil); return err }},
		{"flush", Client.Flush},
		{"zero", Client.Zero},
		{"zero service", func(c Client) error { return c.ZeroService(web.ServiceKey) }},
		{"timeouts", func(c Client) error { _, err := c.Timeouts(); return err }},
		{"set timeouts", func(c Client) error { return c.SetTimeouts(defaultTimeouts) }},
		{"daemons", func(c Client) error { _, err := c.Daemons(); return err }},
		{"start", func(c Client) error { return c.StartDaemon(ipvs.Daemon{State: ipvs.Master, Interface: "lo"}) }},
		{"stop", func(c Client) error { return c.StopDaemon(ipvs.Daemon{State: ipvs.Master}) }},
		{"apply", func(c Client) error {
			return c.Apply(slices.Values(these(addTo(web, rs("[fe80::1%lo]:80")), add(web), remove(web))))
		}},
	}
	for op := ipvs.AddService; op <= ipvs.DeleteDestination; op++ {
		ch := ipvs.Change{Op: op, Service: web, Destination: rs("10.0.0.1:80")}
		out = append(out, step{op.String(), func(c Client) error { return c.Do(ch) }})
	}
	return out
}

func answers(c Client) (out []string) {
	for _, s := range everything() {
		out = append(out, fmt.Sprint(s.text, ": ", describe(s.do(c))))
	}
	return out
}

// TestKernelPermission compares what a process without CAP_NET_ADMIN hears with
// what the fake makes of EPERM.
func TestKernelPermission(t *testing.T) {
	lab.Need(t)
	k, fake := fresh(t, dial), newConforming()
	fake.Inject(Fault{Times: -1, Err: unix.EPERM})
	got := make(chan []string)
	go func() {
		runtime.LockOSThread() // for good: this thread is spoilt, and ends with the goroutine
		if err := dropCapabilities(); err != nil {
			got <- []string{err.Error()}
			return
		}
		got <- answers(k)
	}()
	if diff := cmp.Diff(<-got, answers(fake)); diff != "" {
		t.Errorf("-kernel +fake:\n%s", diff)
	}
}

// dropCapabilities leaves the calling thread without any.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}
