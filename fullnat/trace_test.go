package fullnat_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// tracer counts the system calls of a thread by ptrace, as strace does.
type tracer struct {
	counts map[uint64]int // by number
	stop   func()
}

// trace attaches to the one loop of a child. Its thread stops at each system
// call, twice, and goes on at once.
func trace(t *testing.T, c *child, r childReport) *tracer {
	t.Helper()
	tr := &tracer{counts: map[uint64]int{}}
	var stop atomic.Bool
	ready, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // a tracer is a thread
		defer close(done)
		err := attach(r.Threads[0])
		if ready <- err; err == nil {
			tr.follow(r.Threads[0], &stop)
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("trace thread %d: %v", r.Threads[0], err)
	}
	tr.stop = sync.OnceFunc(func() {
		stop.Store(true)
		c.report() // makes the loop do something, at which the tracer sees that it is to stop
		<-done
	})
	t.Cleanup(tr.stop)
	return tr
}

func attach(id int) error {
	if err := unix.PtraceSeize(id); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(id); err != nil {
		return err
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(id, &ws, unix.WALL, nil); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(id, unix.PTRACE_O_TRACESYSGOOD); err != nil {
		return err
	}
	return unix.PtraceSyscall(id, 0)
}

// follow lets go of the thread in the end: the tracer's own may live on, and who
// is traced cannot end.
func (tr *tracer) follow(id int, stop *atomic.Bool) {
	for inside := false; ; {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(id, &ws, unix.WALL, nil); err != nil || !ws.Stopped() {
			return
		}
		if stop.Load() {
			_ = unix.PtraceDetach(id)
			return
		}
		tr.step(id, ws, &inside)
	}
}

func (tr *tracer) step(id int, ws unix.WaitStatus, inside *bool) {
	deliver := 0
	switch sig := ws.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		*inside = !*inside
		var regs unix.PtraceRegs
		if unix.PtraceGetRegs(id, &regs) == nil {
			tr.count(&regs, *inside)
		}
	case sig != unix.SIGTRAP:
		deliver = int(sig)
	}
	_ = unix.PtraceSyscall(id, deliver)
}

// count notes a call when it begins. A wait in which nothing happened is taken
// back when it ends: such come with time, more of them the slower the machine.
func (tr *tracer) count(regs *unix.PtraceRegs, begins bool) {
	call := callNumber(regs)
	switch {
	case begins:
		tr.counts[call]++
	case call == unix.SYS_EPOLL_PWAIT && callResult(regs) <= 0:
		tr.counts[call]--
	}
}

// runtimes are system calls that Go's scheduler and collector make, more of them
// the slower a thread is, and traced threads are slow.
var runtimes = []uint64{unix.SYS_FUTEX, unix.SYS_RT_SIGRETURN, unix.SYS_TGKILL, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_MADVISE, unix.SYS_GETPID}

// total ends the trace and returns how many calls were not the runtime's.
func (tr *tracer) total() (n int) {
	tr.stop()
	for call, count := range tr.counts {
		if !slices.Contains(runtimes, call) {
			n += count
		}
	}
	return n
}

// callsPer compares the calls of the child's only loop, while work does n things,
// with what is allowed for each. A thread that gets the processor late, or a test
// that has to ask often, adds calls and never takes any away: the least of three
// counts.
func callsPer(t *testing.T, thing string, c *child, r childReport, n int, most float64, work func()) {
	t.Helper()
	for range 3 {
		tr := trace(t, c, r)
		work()
		got := float64(tr.total()) / float64(n)
		t.Logf("%.2f system calls per %s:%s", got, thing, tr.table(n))
		if got <= most {
			return
		}
	}
	t.Errorf("more than %.1f system calls per %s, three times", most, thing)
}

// table prints counts, most first.
func (tr *tracer) table(per int) string {
	var b strings.Builder
	for _, n := range slices.SortedFunc(maps.Keys(tr.counts), func(a, b uint64) int { return tr.counts[b] - tr.counts[a] }) {
		fmt.Fprintf(&b, "\n\t%6.2f  %d", float64(tr.counts[n])/float64(per), n)
	}
	return b.String()
}
