package daemon

import (
	"context"
	"time"
)

// every calls f at this interval until ctx ends, the first time when one is over.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}
