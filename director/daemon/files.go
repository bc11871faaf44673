package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync/atomic"
	"time"
)

// filesEvery is how often the maintenance folder is read.
const filesEvery = time.Second

// folder watches the maintenance folder. It asks again and again rather than
// being told: the folder may be on a network, where nobody tells.
type folder struct {
	log  *slog.Logger
	path atomic.Pointer[string]
}

func newFolder(path string, log *slog.Logger) *folder {
	f := &folder{log: log}
	f.set(path)
	return f
}

func (f *folder) set(path string) { f.path.Store(&path) }

// run calls changed with the names of the files whenever they are others, until
// ctx ends. A folder that cannot be read changes nothing.
func (f *folder) run(ctx context.Context, changed func(map[string]bool) error) {
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	var last map[string]bool
	failing := false
	for {
		now, err := entries(*f.path.Load())
		switch {
		case err != nil && !failing:
			f.log.Warn("the maintenance folder cannot be read, servers stay as they are", "event", "maintenance_unreadable", "err", err)
		case err == nil && (last == nil || !maps.Equal(now, last)):
			if changed(now) != nil {
				return
			}
			last = now
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// entries are the names of what is in a folder. One that does not exist has none.
func entries(path string) (map[string]bool, error) {
	out := make(map[string]bool)
	if path == "" {
		return out, nil
	}
	list, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range list {
		out[e.Name()] = true
	}
	return out, nil
}
