package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/config"
)

// TestHalfWritten: a file that is being written is left alone until it has been
// quiet for a while, and then read.
func TestHalfWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "goipvs.toml")
	write := func(n int) {
		if err := os.WriteFile(file, fmt.Appendf(nil, "# %d\n", n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	w := newWatcher(slog.New(slog.DiscardHandler))
	w.set(func() []string { return []string{file} }, map[string]config.Sum{file: config.SumOf([]byte("# 0\n"))})
	var told atomic.Int32
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // its context is over by then
	running.Go(func() { w.run(t.Context(), func() { told.Add(1) }) })
	const writes = 300
	for n := range writes {
		write(n + 1)
		time.Sleep(5 * time.Millisecond) // the pace of the writes
	}
	for end := time.Now().Add(30 * time.Second); told.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was told")
		}
	}
	if n := told.Load(); n > writes/10 { // a machine that stalls for longer than it waits gives a few
		t.Errorf("told %d times of %d writes", n, writes)
	}
}
