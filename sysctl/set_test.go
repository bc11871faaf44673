package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree is a Netns of files.
func tree(t *testing.T, values map[Knob]string) Netns {
	t.Helper()
	n := Netns{Root: t.TempDir()}
	for k, v := range values {
		if err := os.MkdirAll(filepath.Dir(n.File(k)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.File(k), []byte(v+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func wantValue(t *testing.T, n Netns, k Knob, want string) {
	t.Helper()
	if got, err := n.Get(k); err != nil || got != want {
		t.Errorf("%s is %q, %v; want %q", k, got, err, want)
	}
}

func TestSetAndUndo(t *testing.T) {
	k := VS("sync_threshold")
	n := tree(t, map[Knob]string{k: "3\t50"})
	c, err := n.Set(k, "1\t50")
	if diff := cmp.Diff(Change{Knob: k, Old: "3 50", New: "1 50"}, c); err != nil || diff != "" {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	wantValue(t, n, k, "1 50")
	for range 2 { // undoing twice is undoing once
		if err := n.Undo(c); err != nil {
			t.Error(err)
		}
		wantValue(t, n, k, "3 50")
	}
	if c, err := n.Set(k, "3 50"); err != nil || !c.None() {
		t.Errorf("set to what it is: %+v, %v", c, err)
	}
}

func TestUndoLeavesWhatOthersChanged(t *testing.T) {
	k := Conf4("all", "arp_ignore")
	n := tree(t, map[Knob]string{k: "0"})
	c, err := n.Set(k, "1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Set(k, "2"); err != nil {
		t.Fatal(err)
	}
	err = n.Undo(c)
	if !errors.Is(err, ErrChanged) || err.Error() != "sysctl: undo net.ipv4.conf.all.arp_ignore=0: changed by somebody else since" {
		t.Errorf("undo: %v", err)
	}
	wantValue(t, n, k, "2")
}

func TestSetAllOrNone(t *testing.T) {
	a, b := Conf4("all", "arp_ignore"), Conf4("eth9", "arp_ignore")
	n := tree(t, map[Knob]string{a: "0"})
	_, err := n.SetAll(Setting{a, "1"}, Setting{b, "1"})
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "sysctl: read net.ipv4.conf.eth9.arp_ignore: no such file or directory" {
		t.Errorf("error %v", err)
	}
	wantValue(t, n, a, "0")
	changes, err := n.SetAll(Setting{a, "1"}, Setting{a, "2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.UndoAll(changes); err != nil {
		t.Error(err)
	}
	wantValue(t, n, a, "0")
	if err := os.Remove(n.File(a)); err != nil {
		t.Fatal(err)
	}
	if err := n.UndoAll(changes); err != nil {
		t.Errorf("the interface is gone: %v", err)
	}
}

func TestEffective(t *testing.T) {
	for _, c := range []struct {
		name          string
		all, dev, fwd string
		want          int
	}{
		{"arp_ignore", "1", "0", "0", 1},
		{"arp_ignore", "0", "2", "0", 2},
		{"arp_ignore", "8", "1", "0", 8},
		{"arp_announce", "2", "1", "0", 2},
		{"rp_filter", "1", "2", "0", 2},
		{"rp_filter", "0", "0", "0", 0},
		{"send_redirects", "0", "1", "0", 1},
		{"accept_redirects", "0", "1", "0", 1}, // a host: one suffices
		{"accept_redirects", "0", "1", "1", 0}, // a router: both are needed
		{"accept_redirects", "1", "1", "1", 1},
		{"forwarding", "1", "0", "0", 0}, // the interface alone
		{"accept_source_route", "1", "0", "0", 0},
	} {
		n := tree(t, map[Knob]string{Conf4("eth0.5", "forwarding"): c.fwd})
		for dev, v := range map[string]string{"all": c.all, "eth0.5": c.dev} {
			k := Conf4(dev, c.name)
			if err := os.MkdirAll(filepath.Dir(n.File(k)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(n.File(k), []byte(v), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := n.Effective(Conf4("eth0.5", c.name)); err != nil || got != c.want {
			t.Errorf("%+v: effective %d, %v", c, got, err)
		}
	}
}
