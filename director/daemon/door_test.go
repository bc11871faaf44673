package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
)

// TestDoorRemade: a control socket that somebody removes, alone or with its folder
// and with state_dir, is made anew, as are the locks: a second daemon still finds
// that this one runs.
func TestDoorRemade(t *testing.T) {
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text(""), f.path("sock"), f.path("run/sock"), 1))
	f.start()
	f.has(0, "1")
	answers := func() bool {
		c, err := control.Dial(t.Context(), f.path("run/sock"))
		if err != nil {
			return false
		}
		defer c.Close()
		return c.Do(t.Context(), "status", nil, nil) == nil
	}
	waiting, err := control.Dial(t.Context(), f.path("run/sock"))
	f.must(err)
	defer waiting.Close()
	f.must(waiting.Do(t.Context(), "status", nil, nil))
	place, err := PlaceOf(f.path("goipvs.toml"))
	f.must(err)
	for _, c := range []struct {
		name   string
		remove func() error
	}{
		{"the socket", func() error { return os.Remove(f.path("run/sock")) }},
		{"the lock", func() error { return os.Remove(f.path("run/sock.lock")) }},
		{"its folder", func() error { return os.RemoveAll(f.path("run")) }},
		{"both folders", func() error { return errors.Join(os.RemoveAll(f.path("run")), os.RemoveAll(f.path("state"))) }},
	} {
		f.must(c.remove())
		f.await(c.name+" is made anew", func() bool {
			_, err := os.Lstat(filepath.Join(f.path("state"), "goipvsd.lock"))
			pid, running := place.ControlHolder()
			return err == nil && running && pid == os.Getpid() && answers()
		})
		if info, err := os.Lstat(f.path("run/sock")); err != nil || info.Mode() != fs.ModeSocket|0o660 {
			t.Errorf("%s: %v, %v", c.name, info.Mode(), err)
		}
		var running *RunningError
		if l, err := Acquire(place); !errors.As(err, &running) {
			t.Errorf("%s: a second daemon: %v", c.name, err)
			l.Release()
		}
	}
	said := func() int { return strings.Count(f.log.String(), "event="+director.ControlRemade.Name) }
	f.await("it was said three times", func() bool { return said() >= 3 }) // the log is written after it is done
	if err := waiting.Do(t.Context(), "status", nil, nil); err != nil {
		t.Errorf("a client that was there before: %v", err)
	}
	f.stop()
	if n := said(); n != 3 {
		t.Errorf("said %d times", n)
	}
	if _, err := os.Lstat(f.path("run/sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
}

// TestDoorTaken: what is in the socket's place and is none stays, which is said
// once, and is mended when it is gone. A daemon that began meanwhile keeps its place.
func TestDoorTaken(t *testing.T) {
	f := newFixture(t, 1)
	f.write(f.text(""))
	f.start()
	failed := func() int { return strings.Count(f.log.String(), "event="+director.ControlFailed.Name) }
	f.must(os.Remove(f.path("sock")))
	// Until the daemon looks the name is free for a moment only.
	f.await("a file takes the place", func() bool {
		_ = os.Remove(f.path("sock"))
		return os.WriteFile(f.path("sock"), []byte("precious"), 0o600) == nil
	})
	f.await("it is said", func() bool { return failed() == 1 })
	if b, err := os.ReadFile(f.path("sock")); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	f.must(os.Remove(f.path("sock")))
	f.await("the socket is made anew", func() bool { return f.do("status", nil, nil) == nil })

	f.must(os.Remove(f.path("sock.lock")))
	var l *Lock
	f.await("somebody else takes the lock", func() (ok bool) {
		_ = os.Remove(f.path("sock.lock"))
		file, err := lock(f.path("sock.lock"))
		if err == nil {
			l = &Lock{f: file}
		}
		return err == nil
	})
	defer l.Release()
	f.await("it is said", func() bool { return failed() == 2 })
	if !strings.Contains(f.log.String(), "another goipvsd runs with "+f.path("sock")) {
		t.Error("not why")
	}
}
