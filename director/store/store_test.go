package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

// TestDiskFull: a file that cannot be written leaves the old one.
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
