package director

import (
	"context"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
)

// TestKernelReloadsAreAStart is TestReloadsAreAStart on the real kernel: a start with
// the same file in another network namespace makes the same table.
func TestKernelReloadsAreAStart(t *testing.T) {
	lab.Need(t)
	for n := range *reloadFiles {
		seed := *reloadSeed + uint64(n)
		w := &world{T: t, health: make(map[ServerID]Health), realTime: true}
		w.seed(seed)
		w.write()
		old := startIn(t, w.setup)
		old.judge(w)
		for step := range 8 {
			w.editAll()
			if _, err := old.d.Reload(w.setup, true); err != nil {
				t.Fatalf("%v\n%s", err, w.file)
			}
			old.judge(w)
			fresh := startIn(t, w.setup)
			fresh.judge(w)
			// What leaves is looked at once more before it goes.
			differ := func() []ipvs.Change { return ipvs.Plan(old.table(), fresh.table()) }
			for end := time.Now().Add(time.Minute); len(differ()) > 0 && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
			if d := differ(); len(d) > 0 {
				t.Errorf("seed %d, step %d: to be what a start makes it lacks %v\nthe file:\n%s", seed, step, d, w.file)
			}
			if len(fresh.table()) != len(w.setup.Services) {
				t.Errorf("seed %d, step %d: a start makes %d services of\n%s", seed, step, len(fresh.table()), w.file)
			}
			fresh.end()
		}
		old.end()
	}
}

// namespaced is a Director in a network namespace of its own.
type namespaced struct {
	*testing.T
	d      *Director
	client *ipvs.Client
	cancel func()
	done   chan error
}

func startIn(t *testing.T, setup *Setup) *namespaced {
	t.Helper()
	n := &namespaced{T: t, done: make(chan error, 1)}
	opened := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil { // without lo the kernel refuses destinations
			err = exec.Command("ip", "link", "set", "lo", "up").Run()
		}
		if err == nil {
			n.client, err = ipvs.Dial(ipvs.Options{})
		}
		opened <- err
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	n.d = New(Options{Kernel: n.client})
	ctx, cancel := context.WithCancel(t.Context())
	n.cancel = cancel
	go func() { n.done <- n.d.Run(ctx, setup) }()
	return n
}

// judge tells the Director what checks say, and waits for what it does about it.
func (n *namespaced) judge(w *world) {
	n.Helper()
	n.d.Observe(w.verdicts())
	if err := n.d.do((*state).settle); err != nil {
		n.Fatal(err)
	}
}

// table is what the kernel has there.
func (n *namespaced) table() ipvs.Table {
	n.Helper()
	s, err := ipvs.Read(n.client)
	if err != nil {
		n.Fatal(err)
	}
	return s.Table
}

func (n *namespaced) end() {
	n.Helper()
	n.cancel()
	if err := <-n.done; err != nil {
		n.Error(err)
	}
	if err := n.client.Flush(); err != nil {
		n.Error(err)
	}
	n.client.Close()
}
