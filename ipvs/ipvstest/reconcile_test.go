package ipvstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// words is the outcome of a Reconcile, a line for each change and for the error.
func words(r ipvs.Result, err error) string {
	var b strings.Builder
	for _, c := range r.Made {
		fmt.Fprintln(&b, "made", c)
	}
	for _, c := range r.Withheld {
		fmt.Fprintln(&b, "withheld", c)
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

func webTable(ds ...ipvs.Destination) ipvs.Table {
	return ipvs.Table{{Service: tcp("192.0.2.1:80"), Destinations: ds}}
}

// The table is the web service with 10.0.0.1 and 10.0.0.9 at the start.
func TestReconcileRefused(t *testing.T) {
	const web = " of tcp 192.0.2.1:80"
	tests := []struct {
		name   string
		want   ipvs.Table
		faults []Fault
		result string
		table  string
	}{
		{"nothing of what is wanted: what was there stays", webTable(rs("10.0.0.2:80"), rs("10.0.0.3:80", weight(0))),
			[]Fault{{Op: "add destination", Times: -1, Err: unix.EINVAL}},
			"withheld delete destination 10.0.0.9:80" + web + "\nwithheld delete destination 10.0.0.1:80" + web + "\n" +
				"ipvs: add destination 10.0.0.2:80" + web + ": invalid argument (and 1 more)\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n  10.0.0.9:80 nat weight 1\n"},
		{"one of two: the old ones go", webTable(rs("10.0.0.2:80"), rs("10.0.0.3:80")),
			[]Fault{{Op: "add destination", Err: unix.EINVAL}},
			"made add destination 10.0.0.3:80" + web + "\nmade delete destination 10.0.0.9:80" + web + "\nmade delete destination 10.0.0.1:80" + web + "\n" +
				"ipvs: add destination 10.0.0.2:80" + web + ": invalid argument\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.3:80 nat weight 1\n"},
		{"a server is drained though another is refused", webTable(rs("10.0.0.1:80", weight(0)), rs("10.0.0.9:80"), rs("10.0.0.2:80")),
			[]Fault{{Op: "add destination", Err: unix.EINVAL}},
			"made update destination 10.0.0.1:80" + web + "\nipvs: add destination 10.0.0.2:80" + web + ": invalid argument\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 0\n  10.0.0.9:80 nat weight 1\n"},
		{"a service is drained though its update is refused", ipvs.Table{{Service: tcp("192.0.2.1:80", sched("rr")),
			Destinations: []ipvs.Destination{rs("10.0.0.1:80", weight(0))}}},
			[]Fault{{Op: "update service", Err: unix.ENOENT}},
			"made update destination 10.0.0.1:80" + web + "\nmade delete destination 10.0.0.9:80" + web + "\n" +
				"ipvs: update service tcp 192.0.2.1:80 rr: scheduler not available (ip_vs_rr)\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 0\n"},
		{"a refused service is said once, without its servers", append(webTable(rs("10.0.0.1:80"), rs("10.0.0.9:80")),
			ipvs.Entry{Service: tcp("192.0.2.2:80", sched("nosuch")), Destinations: []ipvs.Destination{rs("10.0.0.1:80"), rs("10.0.0.2:80")}}),
			nil, "ipvs: add service tcp 192.0.2.2:80 nosuch: scheduler not available (ip_vs_nosuch)\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n  10.0.0.9:80 nat weight 1\n"},
		{"a key in another form than the kernel's touches nothing", ipvs.Table{{Service: ipvs.Service{Scheduler: "wlc",
			ServiceKey: ipvs.ServiceKey{Protocol: ipvs.TCP, Family: ipvs.IPv4, Addr: tcp("192.0.2.1:80").Addr}}}},
			nil, "ipvs: reconcile tcp 192.0.2.1:80: wrong address family: family ipv4 beside an address, which tells its own\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n  10.0.0.9:80 nat weight 1\n"},
		{"what was made though its reply was lost is reported", webTable(rs("10.0.0.1:80"), rs("10.0.0.9:80"), rs("10.0.0.2:80")),
			[]Fault{{Op: "add destination", Err: ipvs.ErrLost, Done: true}},
			"made add destination 10.0.0.2:80" + web + "\n",
			"tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n  10.0.0.2:80 nat weight 1\n  10.0.0.9:80 nat weight 1\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			k := withWeb(t, "10.0.0.1:80", "10.0.0.9:80")
			k.Inject(tc.faults...)
			if diff := cmp.Diff(tc.result, words(ipvs.Reconcile(k, tc.want, ipvs.ReconcileOptions{}))); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.table, k.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// What others do to services that are not ours does not keep us from removing
// servers of ours.
func TestReconcileKeepOthersUnderChurn(t *testing.T) {
	k := withWeb(t, "10.0.0.1:80", "10.0.0.9:80")
	churn(k, func(other *Kernel, n int) {
		_ = other.Do(ipvs.Change{Op: ipvs.AddService, Service: at(n)})
		_ = other.Do(ipvs.Change{Op: ipvs.DeleteService, Service: at(n - 3)})
	})
	r, err := ipvs.Reconcile(k, webTable(rs("10.0.0.1:80")), ipvs.ReconcileOptions{KeepOthers: true})
	if diff := cmp.Diff("made delete destination 10.0.0.9:80 of tcp 192.0.2.1:80\n", words(r, err)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(k.String(), at(2).ServiceKey.String()) {
		t.Errorf("a service of others is gone:\n%s", k)
	}
}

// While somebody keeps changing our own service, nothing is removed and success
// is not claimed, even where nothing was to be removed.
func TestReconcileUnsettled(t *testing.T) {
	for _, want := range []ipvs.Table{webTable(rs("10.0.0.1:80")), webTable(rs("10.0.0.1:80"), rs("10.0.0.8:80"), rs("10.0.0.9:80"))} {
		k := withWeb(t, "10.0.0.1:80", "10.0.0.9:80")
		churn(k, func(other *Kernel, n int) {
			op := [...]ipvs.Op{ipvs.AddDestination, ipvs.DeleteDestination}[n%2]
			_ = other.Do(ipvs.Change{Op: op, Service: tcp("192.0.2.1:80"), Destination: rs("10.0.0.8:80")})
		})
		_, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{})
		if !errors.Is(err, ipvs.ErrUnsettled) {
			t.Errorf("%v, want ErrUnsettled", err)
		}
		if !strings.Contains(k.String(), "10.0.0.9:80") {
			t.Errorf("a server was removed:\n%s", k)
		}
	}
}

// churn has another process do something before each listing of services.
func churn(k *Kernel, do func(other *Kernel, n int)) {
	other, n := k.Other(), 0
	k.OnCall(func(c Call) {
		if c.Op == "list services" || c.Op == "read service" {
			n++
			do(other, n)
		}
	})
}

// TestReconcileSingly: what is done for one service does not list all of them.
func TestReconcileSingly(t *testing.T) {
	k := withWeb(t, "10.0.0.1:80", "10.0.0.9:80")
	lists := 0
	k.OnCall(func(c Call) {
		if c.Op == "list services" {
			lists++
		}
	})
	r, err := ipvs.Reconcile(k, webTable(rs("10.0.0.1:80")), ipvs.ReconcileOptions{KeepOthers: true, Singly: true})
	if diff := cmp.Diff("made delete destination 10.0.0.9:80 of tcp 192.0.2.1:80\n", words(r, err)); diff != "" {
		t.Error(diff)
	}
	if lists > 0 {
		t.Errorf("all services were listed %d times", lists)
	}
	k.Unload()
	if _, err := ipvs.Reconcile(k, webTable(), ipvs.ReconcileOptions{KeepOthers: true, Singly: true}); !errors.Is(err, ipvs.ErrNoIPVS) || !strings.Contains(err.Error(), "list services") {
		t.Errorf("%v, want the error of the kernel as a whole", err)
	}
}

// TestReconcileStops: what ends all work is the error, not a success; and a dry
// run is none.
func TestReconcileStops(t *testing.T) {
	k := New(Options{})
	k.Inject(Fault{Op: "add service", Err: unix.EPERM})
	want := webTable(rs("10.0.0.1:80"))
	if r, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{}); !errors.Is(err, ipvs.ErrPermission) || len(r.Made) != 0 {
		t.Errorf("not allowed: %s", words(r, err))
	}
	r, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{DryRun: true})
	if err != nil || len(r.Made) != 2 || k.String() != "" {
		t.Errorf("dry run: %sthe table:\n%s", words(r, err), k)
	}
}
