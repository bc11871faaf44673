package director

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestQuestionsDelayNothing: however many ask for a status without pause, and however
// long an answer takes, a verdict does not wait for more than the one that is being
// given, and what others changed is mended after a few.
func TestQuestionsDelayNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		const answer = 300 * time.Millisecond
		slow := func(ServerID) []CheckStatus { time.Sleep(answer / 3); return nil } // of three servers
		var stop atomic.Bool
		for range 60 {
			go func() {
				for !stop.Load() {
					_, _ = f.d.Status(slow)
				}
			}()
		}
		time.Sleep(5 * time.Second)
		f.d.Observe([]Result{{Server: ServerID{v.Key(), addr(2)}, Health: Down, Reason: "timed out"}})
		time.Sleep(answer)
		f.holds("192.0.2.1:80 1:1 2:0 3:3")

		if err := f.k.Other().Do(ipvs.Change{Op: ipvs.DeleteDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(1)}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * answer) // between the next look and a question chance decides, each time
		f.holds("192.0.2.1:80 1:1 2:0 3:3")
		stop.Store(true)
		synctest.Wait()
	})
}
