package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/kmod"
)

// TestKernelModprobePassesBy: what a module needs and the kernel has is not loaded
// again. Here its files are not even to be found.
func TestKernelModprobePassesBy(t *testing.T) {
	lab.Need(t)
	all, err := os.Readlink(moduleDir)
	if err != nil {
		t.Skip("the kernel's modprobe is not ours")
	}
	ix, err := kmod.ReadIndex(moduleDir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ix.Resolve("ip_vs_ovf")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	own := files[len(files)-1]
	few := t.TempDir()
	if err := os.Symlink(filepath.Join(all, "modules.dep"), filepath.Join(few, "modules.dep")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(few, filepath.Dir(own)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(all, own), filepath.Join(few, own)); err != nil {
		t.Fatal(err)
	}
	turn(t, few)
	defer turn(t, all)
	if err := lab.Load("ip_vs_ovf"); err != nil {
		t.Error(err)
	}
	if !live(own) {
		t.Errorf("%s is not loaded", own)
	}
}

// turn has modprobe look in another folder.
func turn(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(moduleDir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, moduleDir); err != nil {
		t.Fatal(err)
	}
}
