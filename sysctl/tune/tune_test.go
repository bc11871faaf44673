package tune

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/record"
)

// host is a director of files, with the first knobs at 0.
func host(t *testing.T) Host {
	t.Helper()
	h := Host{Netns: sysctl.Netns{Root: t.TempDir()}, Dir: t.TempDir()}
	for _, name := range []string{"conntrack", "sloppy_tcp", "drop_entry"} {
		write(t, h, name, "0")
	}
	return h
}

func write(t *testing.T, h Host, name, value string) {
	t.Helper()
	file := h.Netns.File(sysctl.VS(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(value), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, h Host, settings ...string) {
	t.Helper()
	var all []sysctl.Setting
	for _, s := range settings {
		x, err := Setting(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	if _, err := h.Set(all...); err != nil {
		t.Fatal(err)
	}
}

func wantValues(t *testing.T, h Host, want map[string]string) {
	t.Helper()
	all, err := h.Show()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range all {
		got[s.Name()] = s.Value
		if s.Was != "" {
			got[s.Name()] += " was " + s.Was
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestUndoOldest: undo goes back to what was before the first set, or to what
// somebody else set in between.
func TestUndoOldest(t *testing.T) {
	h := host(t)
	set(t, h, "drop_entry=1", "conntrack=1")
	set(t, h, "drop_entry=2")
	wantValues(t, h, map[string]string{"conntrack": "1 was 0", "drop_entry": "2 was 0", "sloppy_tcp": "0"})
	write(t, h, "conntrack", "0")
	write(t, h, "drop_entry", "1")
	set(t, h, "drop_entry=3")
	wantValues(t, h, map[string]string{"conntrack": "0", "drop_entry": "3 was 1", "sloppy_tcp": "0"})
	if _, kept, err := h.Undo(); err != nil || kept != nil {
		t.Errorf("%v, %v", kept, err)
	}
	wantValues(t, h, map[string]string{"conntrack": "0", "drop_entry": "1", "sloppy_tcp": "0"})
}

// TestSetAllOrNone: a kernel that lacks one knob keeps the others as they are,
// and there is nothing to undo.
func TestSetAllOrNone(t *testing.T) {
	h := host(t)
	_, err := h.Set(sysctl.Setting{Knob: sysctl.VS("conntrack"), Value: "1"}, sysctl.Setting{Knob: sysctl.VS("est_nice"), Value: "1"})
	if err == nil || err.Error() != "sysctl: read net.ipv4.vs.est_nice: no such file or directory" {
		t.Error(err)
	}
	wantValues(t, h, map[string]string{"conntrack": "0", "drop_entry": "0", "sloppy_tcp": "0"})
	if undone, _, err := h.Undo(); err != nil || undone != nil {
		t.Errorf("undone %v, %v", undone, err)
	}
}

// TestKilled: the record is written before the knob, so that one who is killed
// in between, or right after, can be undone.
func TestKilled(t *testing.T) {
	h := host(t)
	for _, made := range []bool{false, true} {
		var none []sysctl.Change
		f, err := record.Open(h.Dir, recordName, &none)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Save([]sysctl.Change{{Knob: sysctl.VS("conntrack"), Old: "0", New: "1"}}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if made {
			write(t, h, "conntrack", "1")
		}
		undone, kept, err := h.Undo()
		if err != nil || kept != nil || (undone != nil) != made {
			t.Errorf("set %v: undone %v, kept %v, %v", made, undone, kept, err)
		}
		wantValues(t, h, map[string]string{"conntrack": "0", "drop_entry": "0", "sloppy_tcp": "0"})
	}
}

// TestForeignRecord: a record cannot make root set any other knob.
func TestForeignRecord(t *testing.T) {
	h := host(t)
	for _, c := range []sysctl.Change{
		{Knob: "kernel/core_pattern", Old: "|/bin/evil", New: "core"},
		{Knob: sysctl.VS("conntrack"), Old: "many", New: "1"},
		{Knob: sysctl.VS("conntrack"), Old: "0", New: "1", Also: []sysctl.Change{{Knob: "kernel/core_pattern", Old: "x", New: "y"}}},
	} {
		var none []sysctl.Change
		f, err := record.Open(h.Dir, recordName, &none)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Save([]sysctl.Change{c}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, _, err := h.Undo(); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

func FuzzSetting(f *testing.F) {
	f.Add("conntrack=1")
	f.Add("net.ipv4.vs.sync_threshold=3 50")
	f.Add("net/ipv4/ip_forward=01")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Setting(text)
		if err != nil {
			return
		}
		again, err := Setting(s.Knob.String() + "=" + s.Value)
		if err != nil || again != s {
			t.Errorf("%q is %+v, which reads as %+v, %v", text, s, again, err)
		}
	})
}
