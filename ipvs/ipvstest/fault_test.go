package ipvstest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestFaultHitsTheNthMatchingOperation(t *testing.T) {
	k := withWeb(t)
	k.Inject(Fault{Op: "add destination", After: 1, Times: 2, Err: unix.EPERM})
	var got []string
	for i := range 5 {
		if err := k.ZeroService(web); err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprint(kinds(k.Do(addReal(fmt.Sprintf("10.0.0.%d:80", i))))))
	}
	want := []string{"[]", "[ErrPermission]", "[ErrPermission]", "[]", "[]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFaultHitsOneObject(t *testing.T) {
	k := withWeb(t)
	k.Inject(Fault{Object: "10.0.0.2:80 of tcp 192.0.2.1:80", Times: -1, Err: unix.ERANGE})
	err := k.Apply(slices.Values(these(addReal("10.0.0.1:80"), addReal("10.0.0.2:80"), addReal("10.0.0.3:80"), addReal("10.0.0.2:80"))))
	refused(t, err, these(addReal("10.0.0.1:80"), addReal("10.0.0.2:80"), addReal("10.0.0.3:80"), addReal("10.0.0.2:80")),
		map[int]error{1: ipvs.ErrRange, 3: ipvs.ErrRange})
	k.Heal()
	do(t, k, addReal("10.0.0.2:80"))
}

func TestInjectedErrnoIsReportedAsTheClientWould(t *testing.T) {
	tests := []struct {
		errno unix.Errno
		do    func(k *Kernel) error
		want  error
	}{
		{unix.EPERM, (*Kernel).Flush, ipvs.ErrPermission},
		{unix.EPERM, (*Kernel).Flush, fs.ErrPermission},
		{unix.ENOENT, (*Kernel).Flush, ipvs.ErrNoIPVS},
		{unix.ENOENT, func(k *Kernel) error { return k.Do(addWeb()) }, ipvs.ErrNoScheduler},
		{unix.ENOENT, func(k *Kernel) error { return k.Do(editIn(tcp("192.0.2.1:80"), rs("10.0.0.1:80"))) }, ipvs.ErrNoDestination},
		{unix.ESRCH, func(k *Kernel) error { return k.Do(addReal("10.0.0.1:80")) }, ipvs.ErrNoService},
		{unix.ESRCH, func(k *Kernel) error { return k.StopDaemon(ipvs.Daemon{State: ipvs.Master}) }, ipvs.ErrNoDaemon},
		{unix.EEXIST, func(k *Kernel) error { return k.Do(addWeb()) }, ipvs.ErrExists},
		{unix.ERANGE, func(k *Kernel) error { return k.Do(addReal("10.0.0.1:80")) }, ipvs.ErrRange},
		{unix.EINVAL, func(k *Kernel) error { return k.SetTimeouts(ipvs.Timeouts{}) }, ipvs.ErrInvalid},
		{unix.ENODEV, func(k *Kernel) error { return k.StartDaemon(ipvs.Daemon{}) }, ipvs.ErrNoDevice},
		{unix.EAFNOSUPPORT, func(k *Kernel) error { return k.Do(addWeb()) }, ipvs.ErrFamily},
		{unix.EOPNOTSUPP, func(k *Kernel) error { _, err := k.Info(); return err }, ipvs.ErrUnsupported},
		{unix.ENOMEM, func(k *Kernel) error { return k.Do(addWeb()) }, unix.ENOMEM},
	}
	for _, tc := range tests {
		t.Run(fmt.Sprint(tc.errno, " is ", tc.want), func(t *testing.T) {
			k := New(Options{})
			k.Inject(Fault{Err: tc.errno})
			if err := tc.do(k); !errors.Is(err, tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLostReply(t *testing.T) {
	for _, done := range []bool{false, true} {
		k := withWeb(t)
		k.Inject(Fault{Op: "add destination", Err: ipvs.ErrLost, Done: done})
		if err := k.Do(addReal("10.0.0.1:80")); !errors.Is(err, ipvs.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		if added := strings.Contains(k.String(), "10.0.0.1"); added != done {
			t.Errorf("Done %v, but the table is\n%s", done, k)
		}
	}
}

func TestALostRefusalIsLostToo(t *testing.T) {
	k := withWeb(t, "10.0.0.1:80")
	k.Inject(Fault{Err: ipvs.ErrLost, Done: true})
	if err := k.Do(addReal("10.0.0.1:80")); !errors.Is(err, ipvs.ErrLost) || errors.Is(err, ipvs.ErrExists) {
		t.Errorf("got %v, want ErrLost alone", err)
	}
}

func TestSpoiledListing(t *testing.T) {
	tests := []struct {
		name string
		show func(int) []int
		want []string
	}{
		{"skip", Skip(0, 2), []string{"10.0.0.2:80"}},
		{"repeat", Repeat(1), []string{"10.0.0.3:80", "10.0.0.2:80", "10.0.0.2:80", "10.0.0.1:80"}},
		{"empty", Skip(0, 1, 2), nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			k := withWeb(t, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
			k.Inject(Fault{Op: "list destinations", Show: tc.show})
			if err := k.Zero(); err != nil { // must not use the fault up
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, listed(t, k)); diff != "" {
				t.Error(diff)
			}
			if n := len(listed(t, k)); n != 3 {
				t.Errorf("the next listing has %d entries", n)
			}
		})
	}
}

func listed(t *testing.T, k *Kernel) (out []string) {
	t.Helper()
	ds, err := k.Destinations(web, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		out = append(out, d.Addr.String())
	}
	return out
}

func TestUnknownOperationInAFaultPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it did not panic")
		}
	}()
	New(Options{}).Inject(Fault{Op: "add dest", Err: unix.EPERM})
}

// Changes that ipvs.Client does not send meet no fault.
func TestFaultIsNotUsedUpByWhatIsNeverSent(t *testing.T) {
	k := withWeb(t)
	k.Inject(Fault{Err: unix.EPERM})
	if err := k.Do(addReal("[::ffff:10.0.0.1]:80")); !errors.Is(err, ipvs.ErrFamily) {
		t.Errorf("got %v", err)
	}
	if err := k.Flush(); !errors.Is(err, ipvs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// The kernel's trap: a dump goes on by position, so that what others delete
// among the entries already given hides as many of those to come.
func TestListingUnderDeletionMissesWhatNobodyTouched(t *testing.T) {
	k := many(t, 200)
	other := k.Other()
	k.OnCall(func(c Call) {
		if c.Resumed && c.Op == "list destinations" {
			for i := 199; i >= 190; i-- { // the newest are listed first
				do(t, other, removeFrom(tcp("192.0.2.1:80"), nth(i)))
			}
			k.OnCall(nil)
		}
	})
	got := listed(t, k)
	if len(got) != 190 { // 200 and not the ten that followed the first chunk
		t.Errorf("%d entries were listed, want 190", len(got))
	}
	for i := 100; i <= 109; i++ {
		if slices.Contains(got, nth(i).Addr.String()) {
			t.Errorf("%s was never touched; it should have been missed", nth(i).Addr)
		}
	}
	snap, err := ipvs.Read(k)
	if err != nil || !snap.Settled || len(snap.Table[0].Destinations) != 190 {
		t.Errorf("Read: %d entries, settled %v, %v; want the 190 that are there", len(snap.Table[0].Destinations), snap.Settled, err)
	}
}

func TestListingUnderInsertionGivesNothingTwice(t *testing.T) {
	k := many(t, 200)
	k.OnCall(func(c Call) {
		if c.Resumed {
			do(t, k.Other(), addTo(tcp("192.0.2.1:80"), nth(200)))
			k.OnCall(nil)
		}
	})
	got := listed(t, k)
	slices.Sort(got)
	if n := len(slices.Compact(slices.Clone(got))); n != len(got) || n != 200 {
		t.Errorf("%d entries, %d of them different; want 200", len(got), n)
	}
}

func TestListingOfAServiceThatGoesAwayJustEnds(t *testing.T) {
	k := many(t, 200)
	k.OnCall(func(c Call) {
		if c.Resumed {
			do(t, k.Other(), remove(tcp("192.0.2.1:80")))
		}
	})
	if got := listed(t, k); len(got) != 90 {
		t.Errorf("%d entries, want the first 90", len(got))
	}
}

func many(t *testing.T, n int) *Kernel {
	t.Helper()
	k := withWeb(t)
	if err := k.Apply(changes(n, func(i int) ipvs.Change { return addTo(tcp("192.0.2.1:80"), nth(i)) })); err != nil {
		t.Fatal(err)
	}
	return k
}

func nth(i int) ipvs.Destination {
	return ipvs.Destination{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80), Weight: 1}
}

func TestWithoutIPVSEverythingFails(t *testing.T) {
	k := withWeb(t, "10.0.0.1:80")
	if err := k.SetTimeouts(ipvs.Timeouts{TCP: time.Minute}); err != nil {
		t.Fatal(err)
	}
	k.Unload()
	for name, f := range map[string]func() error{
		"info":         func() error { _, err := k.Info(); return err },
		"services":     func() error { _, err := k.Services(); return err },
		"service":      func() error { _, err := k.Service(web); return err },
		"destinations": func() error { _, err := k.Destinations(web, nil); return err },
		"do":           func() error { return k.Do(addWeb()) },
		"flush":        k.Flush,
		"zero":         k.Zero,
		"zero service": func() error { return k.ZeroService(web) },
		"timeouts":     func() error { _, err := k.Timeouts(); return err },
		"set timeouts": func() error { return k.SetTimeouts(ipvs.Timeouts{}) },
		"daemons":      func() error { _, err := k.Daemons(); return err },
		"start":        func() error { return k.StartDaemon(ipvs.Daemon{State: ipvs.Master, Interface: "lo"}) },
		"stop":         func() error { return k.StopDaemon(ipvs.Daemon{State: ipvs.Master}) },
		"apply":        func() error { return k.Apply(slices.Values(these(addWeb(), addReal("10.0.0.1:80")))) },
	} {
		var o *ipvs.OpError
		if err := f(); !errors.Is(err, ipvs.ErrNoIPVS) || !errors.As(err, &o) {
			t.Errorf("%s: %v, want an *OpError that is ErrNoIPVS", name, err)
		}
	}
	k.Load()
	if got := k.String(); got != "" {
		t.Errorf("the table survived: %s", got)
	}
	if got, err := k.Timeouts(); err != nil || got != defaultTimeouts {
		t.Errorf("timeouts %v, %v; want the defaults", got, err)
	}
	do(t, k, addWeb())
}

func TestApplyStopsWhereGoingOnIsPointless(t *testing.T) {
	k := withWeb(t)
	list := these(addReal("10.0.0.1:80"), addWeb(), addReal("10.0.0.2:80"), addReal("10.0.0.3:80"))
	k.Inject(Fault{After: 2, Times: -1, Err: unix.EPERM})
	err := k.Apply(slices.Values(list))
	var stop *ipvs.OpError
	if !errors.As(err, &stop) || stop.Op != "apply changes" || stop.Index != 2 || !errors.Is(stop, ipvs.ErrPermission) {
		t.Errorf("got %v, want that it stopped at 2 for lack of permission", err)
	}
	if !strings.Contains(err.Error(), "already exists") {
		t.Errorf("%v does not tell what was refused before", err)
	}
	if strings.Contains(k.String(), "10.0.0.3") {
		t.Error("it went on")
	}
}

func TestReconcileSurvivesFaults(t *testing.T) {
	want := ipvs.Table{{Service: tcp("192.0.2.1:80"), Destinations: []ipvs.Destination{rs("10.0.0.1:80"), rs("10.0.0.2:80")}}}
	tests := []struct {
		name   string
		faults []Fault
		hook   func(other *Kernel) func(Call)
	}{
		{"a listing without a destination", []Fault{{Op: "list destinations", Show: Skip(0)}}, nil},
		{"a listing without a service", []Fault{{Op: "list services", Show: Skip(0)}}, nil},
		{"a lost reply, done", []Fault{{Op: "add destination", Err: ipvs.ErrLost, Done: true}}, nil},
		{"a lost reply, not done", []Fault{{Op: "add destination", Err: ipvs.ErrLost}}, nil},
		{"another was faster", nil, func(other *Kernel) func(Call) {
			return func(c Call) {
				if c.Op == "add destination" {
					_ = other.Do(addReal(strings.Fields(c.Object)[0])) // the second time it is there
				}
			}
		}},
		{"another deletes the service", nil, func(other *Kernel) func(Call) {
			once := true
			return func(c Call) {
				if c.Op == "add destination" && once {
					once = false
					_ = other.Flush()
				}
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			k := withWeb(t, "10.0.0.1:80", "10.0.0.9:80")
			k.Inject(tc.faults...)
			if tc.hook != nil {
				k.OnCall(tc.hook(k.Other()))
			}
			if _, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{}); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff("tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n  10.0.0.2:80 nat weight 1\n", k.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
