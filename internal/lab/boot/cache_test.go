package boot

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCachedFillsOnce(t *testing.T) {
	t.Setenv(CacheEnv, t.TempDir())
	var fills atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := cached("thing", func(dir string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644)
			})
			if err != nil || !exists(filepath.Join(dir, "whole")) {
				t.Errorf("%s, %v: not whole", dir, err)
			}
		})
	}
	wg.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times", n)
	}
}

// TestCachedForgetsFaults: what could not be filled is tried again, and half
// of it is nowhere.
func TestCachedForgetsFaults(t *testing.T) {
	cache := t.TempDir()
	t.Setenv(CacheEnv, cache)
	broken := errors.New("broken")
	for range 2 {
		_, err := cached("thing", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("left in the cache: %v, %v", entries, err)
	}
}
