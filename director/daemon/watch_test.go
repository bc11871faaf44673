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

// TestNobodyTells: changes of which the kernel tells nothing, since they are not
// in the folders of the files, are found all the same.
func TestNobodyTells(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"what a link leads to": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "elsewhere", "goipvs.toml"), []byte("# new\n"), 0o600)
		},
		"a folder that is a link": func(dir string) error {
			if err := os.Symlink("next", filepath.Join(dir, "link")); err != nil {
				return err
			}
			return os.Rename(filepath.Join(dir, "link"), filepath.Join(dir, "current"))
		},
		"a file in an included folder that was empty": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "conf.d", "a.toml"), []byte("# new\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must := func(err error) {
				if err != nil {
					t.Helper()
					t.Fatal(err)
				}
			}
			for _, d := range []string{"etc", "elsewhere", "now", "next", "conf.d"} {
				must(os.Mkdir(filepath.Join(dir, d), 0o700))
			}
			for file, text := range map[string]string{"elsewhere/goipvs.toml": "# old\n", "now/b.toml": "# old\n", "next/b.toml": "# new\n"} {
				must(os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			must(os.Symlink("../elsewhere/goipvs.toml", filepath.Join(dir, "etc/goipvs.toml")))
			must(os.Symlink("now", filepath.Join(dir, "current")))
			files := func() []string {
				more, _ := filepath.Glob(filepath.Join(dir, "conf.d/*"))
				return append(more, filepath.Join(dir, "etc/goipvs.toml"), filepath.Join(dir, "current/b.toml"))
			}
			w := newWatcher(slog.New(slog.DiscardHandler))
			w.set(files, sums(files()))
			told := make(chan struct{}, 1)
			var running sync.WaitGroup
			t.Cleanup(running.Wait) // its context is over by then
			running.Go(func() { w.run(t.Context(), func() { told <- struct{}{} }) })
			must(change(dir))
			select {
			case <-told:
			case <-time.After(30 * time.Second):
				t.Fatal("nothing was told")
			}
		})
	}
}

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
