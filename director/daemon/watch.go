package daemon

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/goipvs/goipvs/config"
)

// settleTime is how long the files must have been quiet before they are read:
// editors and copies write in several steps.
const settleTime = 500 * time.Millisecond

// lookEvery is how often the files are looked at whether anything was told or
// not: nobody tells of what a link leads to, of an included folder that was
// empty, or of a folder on a network.
const lookEvery = 5 * time.Second

// watcher notices that the configuration changed on disk. It watches folders,
// since editors replace files, and compares contents, since touching is no
// change.
type watcher struct {
	log  *slog.Logger
	wake chan struct{}

	mu    sync.Mutex
	files func() []string // nil: nothing is watched
	known map[string]config.Sum
}

func newWatcher(log *slog.Logger) *watcher { return &watcher{log: log, wake: make(chan struct{}, 1)} }

// set says which files matter from now on and what they held when they were
// read, which may be a while ago; nil: autoreload is off.
func (w *watcher) set(files func() []string, known map[string]config.Sum) {
	w.mu.Lock()
	w.files, w.known = files, known
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run calls changed after every change of the contents, until ctx ends.
func (w *watcher) run(ctx context.Context, changed func()) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Error("autoreload does not work", "event", "autoreload_failed", "err", err)
		return
	}
	defer fs.Close()
	quiet, look := time.NewTimer(0), time.NewTicker(lookEvery)
	defer quiet.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.follow(fs)
			quiet.Reset(settleTime) // for what was written before the folders were watched
		case _, ok := <-fs.Events:
			if !ok {
				return
			}
			quiet.Reset(settleTime)
		case err := <-fs.Errors:
			w.log.Warn("autoreload may have missed a change", "event", "autoreload_failed", "err", err)
			quiet.Reset(settleTime)
		case <-look.C:
			if w.differs() {
				quiet.Reset(settleTime)
			}
		case <-quiet.C:
			if w.news() {
				changed()
			}
		}
	}
}

// follow watches the folders of the files and no others.
func (w *watcher) follow(fs *fsnotify.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want := make(map[string]bool)
	if w.files != nil {
		for _, f := range w.files() {
			want[filepath.Dir(f)] = true
		}
	}
	for _, dir := range fs.WatchList() {
		if !want[dir] {
			_ = fs.Remove(dir)
		}
		delete(want, dir)
	}
	for dir := range want {
		if err := fs.Add(dir); err != nil {
			w.log.Warn("autoreload does not see a folder", "event", "autoreload_failed", "err", err)
		}
	}
}

// differs reports whether the contents are others than when they were last looked
// at.
func (w *watcher) differs() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.files != nil && !maps.Equal(sums(w.files()), w.known)
}

// news reports whether the contents changed since they were last looked at.
func (w *watcher) news() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		return false
	}
	now := sums(w.files())
	changed := !maps.Equal(now, w.known)
	w.known = now
	return changed
}

// sums are of the files that can be read.
func sums(files []string) map[string]config.Sum {
	all := make(map[string]config.Sum)
	for _, f := range files {
		if b, err := config.ReadFile(f); err == nil {
			all[f] = config.SumOf(b)
		}
	}
	return all
}
