package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/store"
	"github.com/goipvs/goipvs/ipvs"
)

// TestSavedWhenThereIsRoom: what a full disk did not take is on it soon after there is
// room again, though nothing more happens: a daemon that is killed then has lost
// nothing.
func TestSavedWhenThereIsRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file, where nothing can be written to
		t.Fatal(err)
	}
	file := store.Store{Path: filepath.Join(dir, "state.json")}
	synctest.Test(t, func(t *testing.T) {
		s := newSaver(file, state{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.run(ctx); close(ended) }()
		id := director.ServerID{Service: ipvs.ServiceKey{FWMark: 7}}
		s.put(director.Persistent{Overrides: map[director.ServerID]*director.Override{id: {Kind: director.Maintain}}})
		if err := s.flush(); err == nil {
			t.Error("written to a file that is no folder")
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		later, done := context.WithTimeout(ctx, againAfter+1)
		defer done()
		<-later.Done()
		synctest.Wait()
		if _, err := os.Stat(file.Path); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
	})
}
