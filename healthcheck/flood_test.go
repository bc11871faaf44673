package healthcheck

import (
	"strings"
	"sync"
	"testing"

	"github.com/goipvs/goipvs/internal/evil"
)

// TestFlood: a server that sends without end is found out by how much it sends,
// long before the deadline, whatever the check.
func TestFlood(t *testing.T) {
	for _, kind := range Types() {
		t.Run(kind, func(t *testing.T) {
			var all sync.WaitGroup
			defer all.Wait()
			for _, s := range samples[kind] {
				s.check.Type = kind
				if !s.udp {
					drown(t, s.check, &all)
				}
			}
		})
	}
}

func drown(t *testing.T, c Check, all *sync.WaitGroup) {
	for _, b := range evil.Behaviours() {
		if !strings.Contains(b.Name, "without end") {
			continue
		}
		addr, stop := evil.Serve(t, b)
		all.Go(func() {
			defer stop()
			res, err := Look(within(t, patient), c, Target{Real: addr})
			if err != nil || Class(res.Err) == "timeout" {
				t.Errorf("a server that %s: %v %v after %v\n%s", b.Name, err, res.Err, res.Took, res.Transcript)
			}
		})
	}
}
