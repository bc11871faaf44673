package record

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type content struct{ Count int }

func open1(t *testing.T, dir string) (*File, content) {
	t.Helper()
	var c content
	f, err := Open(dir, "test", &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, c
}

func TestSaveAndRead(t *testing.T) {
	dir := t.TempDir() + "/made"
	f, c := open1(t, dir)
	if c.Count != 0 {
		t.Errorf("a new record has %+v", c)
	}
	if err := f.Save(content{3}); err != nil {
		t.Fatal(err)
	}
	var peeked content
	if err := Peek(dir, "test", &peeked); err != nil || peeked.Count != 3 {
		t.Errorf("peeked %+v, %v", peeked, err)
	}
	f.Close()
	f, c = open1(t, dir)
	if c.Count != 3 {
		t.Errorf("read %+v", c)
	}
	if err := f.Save(nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, c = open1(t, dir); c.Count != 0 {
		t.Errorf("a removed record has %+v", c)
	}
}

// TestLock: concurrent users see each other's changes, none is lost.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			var c content
			f, err := Open(dir, "test", &c)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if err := f.Save(content{c.Count + 1}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, c := open1(t, dir); c.Count != 20 {
		t.Errorf("20 increments gave %d", c.Count)
	}
}

// TestEarlierBoot: what was changed then is gone, and so is the record of it.
func TestEarlierBoot(t *testing.T) {
	dir := t.TempDir()
	f, _ := open1(t, dir)
	for _, other := range []head{{"another-boot", f.head.Netns}, {f.head.Boot, f.head.Netns + 1}} {
		b, err := json.Marshal(document{other, json.RawMessage(`{"Count":7}`)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var c content
		if err := Peek(dir, "test", &c); err != nil || c.Count != 0 {
			t.Errorf("%+v: %+v, %v", other, c, err)
		}
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	f, _ := open1(t, dir)
	if err := f.Save(map[string]int{"Count": 1, "Unknown": 2}); err != nil {
		t.Fatal(err)
	}
	var errs []string
	look := func() {
		if err := Peek(dir, "test", new(content)); err != nil {
			errs = append(errs, strings.ReplaceAll(err.Error(), f.path, "FILE"))
		}
	}
	look()
	if err := os.WriteFile(f.path, []byte(`{"boot":`), 0o600); err != nil {
		t.Fatal(err)
	}
	look()
	want := []string{`record: read FILE: json: unknown field "Unknown"`, "record: read FILE: unexpected end of JSON input"}
	if diff := cmp.Diff(want, errs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestForeign: a record that others could have written is not believed.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	f, _ := open1(t, dir)
	if err := f.Save(content{1}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Peek(dir, "test", new(content)); !errors.Is(err, ErrForeign) {
		t.Errorf("written by all: %v", err)
	}
	if err := os.Rename(f.path, f.path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(f.path+".moved", f.path); err != nil {
		t.Fatal(err)
	}
	if err := Peek(dir, "test", new(content)); err == nil {
		t.Error("a symbolic link: no error")
	}
	if err := f.Save(content{2}); err != nil { // replaces the link, not what it leads to
		t.Fatal(err)
	}
	var c content
	if err := Peek(dir, "test", &c); err != nil || c.Count != 2 {
		t.Errorf("saved anew: %+v, %v", c, err)
	}
}
