package ipvstest

import (
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Client is the whole of a kernel: ipvs.Client has these methods, and so has
// [Kernel].
type Client interface {
	ipvs.Kernel
	Info() (ipvs.Info, error)
	Service(ipvs.ServiceKey) (ipvs.ServiceInfo, error)
	Do(ipvs.Change) error
	Flush() error
	Zero() error
	ZeroService(ipvs.ServiceKey) error
	Timeouts() (ipvs.Timeouts, error)
	SetTimeouts(ipvs.Timeouts) error
	Daemons() ([]ipvs.Daemon, error)
	StartDaemon(ipvs.Daemon) error
	StopDaemon(ipvs.Daemon) error
	Close() error
}

// Conformance tests that what open returns behaves as the kernel does, each
// case as a subtest on a Client of its own. The table may hold anything before
// and is empty afterwards: this is not for a machine that is in use. The kernel
// must have all schedulers and engines, and two interfaces that are up: lo of
// MTU 65536, and sync0 of MTU 9000 with an IPv6 address.
func Conformance(t *testing.T, open func(t *testing.T) Client) {
	t.Run("change", func(t *testing.T) {
		for _, tc := range slices.Concat(serviceCases(), scheduleCases(), destinationCases(), tunnelCases()) {
			t.Run(tc.name, func(t *testing.T) {
				tc.run(t, fresh(t, open), Client.Do)
			})
			t.Run(tc.name+" by apply", func(t *testing.T) {
				tc.run(t, fresh(t, open), applyOne)
			})
		}
	})
	for _, group := range []struct {
		name  string
		cases []operationCase
	}{
		{"read", readCases()},
		{"counters", counterCases()},
		{"timeouts", timeoutCases()},
		{"daemons", daemonCases()},
		{"apply", applyCases()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tc := range group.cases {
				t.Run(tc.name, func(t *testing.T) { tc.run(t, fresh(t, open)) })
			}
		})
	}
}

const syncInterface = "sync0"

// fresh opens a kernel and empties it, and does so again when the test is over.
func fresh(t *testing.T, open func(t *testing.T) Client) Client {
	t.Helper()
	c := open(t)
	clean := func() {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []ipvs.DaemonState{ipvs.Master, ipvs.Backup} {
			if err := c.StopDaemon(ipvs.Daemon{State: s}); err != nil && !errors.Is(err, ipvs.ErrNoDaemon) {
				t.Fatal(err)
			}
		}
		if err := c.SetTimeouts(defaultTimeouts); err != nil {
			t.Fatal(err)
		}
	}
	clean()
	t.Cleanup(func() {
		clean()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

var defaultTimeouts = ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}

// changeCase makes one change to a table that setup made.
type changeCase struct {
	name   string
	setup  []ipvs.Change
	change ipvs.Change
	want   error  // nil, or the one of the errors of package ipvs that it is
	table  string // as Text prints it, afterwards
}

func (tc changeCase) run(t *testing.T, c Client, do func(Client, ipvs.Change) error) {
	if err := c.Apply(slices.Values(tc.setup)); err != nil {
		t.Fatalf("setup: %v", err)
	}
	err := do(c, tc.change)
	isError(t, err, tc.want, tc.change.Op.String(), tc.change.Object())
	holds(t, c, tc.table)
}

// applyOne makes one change the way that many are made.
func applyOne(c Client, ch ipvs.Change) error {
	err := c.Apply(slices.Values([]ipvs.Change{ch}))
	var batch *ipvs.BatchError
	if errors.As(err, &batch) && len(batch.Failed) == 1 {
		return batch.Failed[0]
	}
	return err
}

// operationCase is any other operation on a table that setup made. do reports
// what it finds wrong itself; the error it returns must be want.
type operationCase struct {
	name       string
	setup      []ipvs.Change
	do         func(t *testing.T, c Client) error
	want       error
	op, object string // of the error
	table      string
}

func (tc operationCase) run(t *testing.T, c Client) {
	if err := c.Apply(slices.Values(tc.setup)); err != nil {
		t.Fatalf("setup: %v", err)
	}
	isError(t, tc.do(t, c), tc.want, tc.op, tc.object)
	holds(t, c, tc.table)
}

func isError(t *testing.T, err, want error, op, object string) {
	t.Helper()
	if diff := cmp.Diff(kinds(want), kinds(err)); diff != "" {
		t.Errorf("the error %v is another than wanted (-want +got):\n%s", err, diff)
	}
	if want == nil || err == nil {
		return
	}
	var o *ipvs.OpError
	if !errors.As(err, &o) {
		t.Fatalf("%v is a %T, not an *ipvs.OpError", err, err)
	}
	if o.Op != op || o.Object != object || o.Index != 0 {
		t.Errorf("error of %q %q, index %d; want %q %q, 0", o.Op, o.Object, o.Index, op, object)
	}
}

// Kinds names the errors of package ipvs that err is, as errors.Is sees it: the
// part of an error that programs decide by.
func kinds(err error) (out []string) {
	for _, k := range []struct {
		err  error
		name string
	}{
		{ipvs.ErrNoIPVS, "ErrNoIPVS"}, {ipvs.ErrPermission, "ErrPermission"}, {ipvs.ErrNoService, "ErrNoService"},
		{ipvs.ErrNoDestination, "ErrNoDestination"}, {ipvs.ErrExists, "ErrExists"}, {ipvs.ErrNoScheduler, "ErrNoScheduler"},
		{ipvs.ErrNoEngine, "ErrNoEngine"}, {ipvs.ErrNoDaemon, "ErrNoDaemon"}, {ipvs.ErrNoDevice, "ErrNoDevice"},
		{ipvs.ErrRange, "ErrRange"}, {ipvs.ErrFamily, "ErrFamily"}, {ipvs.ErrInvalid, "ErrInvalid"},
		{ipvs.ErrUnsupported, "ErrUnsupported"}, {ipvs.ErrLost, "ErrLost"}, {ipvs.ErrTimeout, "ErrTimeout"}, {ipvs.ErrReply, "ErrReply"},
	} {
		if errors.Is(err, k.err) {
			out = append(out, k.name)
		}
	}
	var errno unix.Errno
	switch {
	case err == nil || out != nil:
	case errors.As(err, &errno):
		out = []string{errno.Error()}
	default:
		out = []string{err.Error()}
	}
	return out
}

func holds(t *testing.T, c Client, table string) {
	t.Helper()
	got, err := Text(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table, got); diff != "" {
		t.Errorf("the table afterwards (-want +got):\n%s", diff)
	}
}

func changes(n int, f func(i int) ipvs.Change) iter.Seq[ipvs.Change] {
	return func(yield func(ipvs.Change) bool) {
		for i := range n {
			if !yield(f(i)) {
				return
			}
		}
	}
}
