package healthcheck

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errSick = errors.New("sick")

// TestRiseAndFall: a server that fails three times in a row is down, and needs
// two successes to come back.
func TestRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sick atomic.Bool
		r := NewRunner(Options{})
		s := Subject{ID: "a", Schedule: Schedule{Interval: 2 * time.Second, Rise: 2, Fall: 3}, Probe: func(context.Context) error {
			if sick.Load() {
				return errSick
			}
			return nil
		}}
		if err := r.Replace([]Subject{s}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		defer synctest.Wait()
		defer cancel()
		expect := func(after time.Duration, want Verdict) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got, _ := r.Status("a"); got.Verdict != want {
				t.Errorf("after %v: %v, want %v", after, got.Verdict, want)
			}
		}
		expect(2*time.Second, Up)
		sick.Store(true)
		expect(4*time.Second, Up)
		expect(2*time.Second, Down)
		sick.Store(false)
		expect(2*time.Second, Down)
		expect(2*time.Second, Up)
	})
}
