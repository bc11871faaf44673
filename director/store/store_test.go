package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type state struct{ A map[string]int }

func TestSaveLoad(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "deep", "state.json")}
	var got state
	if err := s.Load(&got); err != nil || got.A != nil {
		t.Fatal("no file:", err, got)
	}
	if err := s.Save(state{map[string]int{"x": 1}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(&got); err != nil || got.A["x"] != 1 {
		t.Fatal(err, got)
	}
	if info, err := os.Stat(s.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// TestLeftovers: what is written first lies beside the file, and is not there for
// good when the daemon is killed over it.
func TestLeftovers(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", elsewhere)
	s, j := Store{filepath.Join(dir, "state.json")}, &Journal{Path: filepath.Join(dir, "events")}
	long := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(elsewhere, long, long); err != nil {
		t.Fatal(err)
	}
	for name, modified := range map[string]time.Time{
		".state.json17": long, ".events42": long, ".state.json18": time.Now(), ".state.json.swp": long, "state.json19": long,
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chtimes(name, modified, modified)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Load(new(state)), s.Save(state{})); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Load(); err != nil {
		t.Fatal(err)
	}
	if err := j.Rewrite([]string{"x"}); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if info, err := os.Stat(elsewhere); err != nil || info.ModTime().Sub(long).Abs() > time.Second {
		t.Error("something was written to the folder of temporary files", err)
	}
	files, err := os.ReadDir(dir)
	var got []string
	for _, f := range files {
		got = append(got, f.Name())
	}
	if want := []string{".state.json.swp", ".state.json18", "events", "state.json", "state.json19"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// TestCorrupt: whatever happened to the file, the daemon starts without it and
// keeps it for who wants to look.
func TestCorrupt(t *testing.T) {
	good := Store{filepath.Join(t.TempDir(), "state.json")}
	if err := good.Save(state{map[string]int{"x": 1}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(good.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "half": string(b[:len(b)/2]), "zeros": strings.Repeat("\x00", 100),
		"changed": strings.Replace(string(b), `"x":1`, `"x":2`, 1), "another version": strings.Replace(string(b), `"version":1`, `"version":9`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := Store{filepath.Join(t.TempDir(), "state.json")}
			if err := os.WriteFile(s.Path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var got state
			if err := s.Load(&got); !errors.Is(err, ErrCorrupt) || got.A != nil {
				t.Errorf("%v, %v", err, got)
			}
			if kept, _ := filepath.Glob(s.Path + ".corrupt-*"); len(kept) != 1 {
				t.Error("the corrupt file is gone")
			}
			if err := s.Save(state{}); err != nil {
				t.Error(err)
			}
			if err := s.Load(&got); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnwritable: a file that cannot be written leaves the old one.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	s := Store{filepath.Join(dir, "file", "state.json")}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(state{}); err == nil {
		t.Error("want an error")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"sha256":"","state":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got state
		_ = decode(b, &got)
	})
}
