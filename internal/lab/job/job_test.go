package job

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJobRoundTrip(t *testing.T) {
	want := &Job{
		Kind: "uml", Path: "/bin/x", Args: []string{"x", "", "a\nb", "\xff"}, Env: []string{"K=v \xfe"},
		Load: []string{"ip_vs"}, Autoload: true, TTY: true, Window: Window{24, 80},
	}
	file := filepath.Join(t.TempDir(), "job")
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadMissing(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing job is no error")
	}
}
