package fullnat_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
)

// Loops wait behind the back of Go's scheduler. The collector, which stops all
// of them, must come through all the same: with loops that sleep, that wake now
// and then, and that are busy.
func TestGarbageCollector(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, e, s)
	for _, clients := range []int{0, 1, 16} {
		var stop atomic.Bool
		var wg sync.WaitGroup
		for range clients {
			c := dial(t, s.Addr)
			wg.Go(func() {
				for !stop.Load() {
					if err := exchange(c, 1); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		done := make(chan time.Duration)
		go func() {
			var longest time.Duration
			for range 20 {
				began := time.Now()
				runtime.GC()
				longest = max(longest, time.Since(began))
			}
			done <- longest
		}()
		select {
		case longest := <-done:
			t.Logf("%d clients: the longest of 20 collections took %v", clients, longest)
		case <-time.After(patience):
			t.Fatalf("%d clients: the garbage collector hangs", clients)
		}
		stop.Store(true)
		wg.Wait()
	}
}
