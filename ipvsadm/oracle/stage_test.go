package oracle

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// stage is a thread with a mount namespace of its own: what is mounted for a
// test is seen by the programs that are started from the stage, and by nobody
// else on the machine.
type stage struct{ work chan func() }

// newStage is for labs: it mounts.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		ready <- err
		for f := range s.work {
			f()
		}
	}()
	t.Cleanup(func() { close(s.work) })
	must(t, <-ready)
	return s
}

// do runs f on the stage.
func (s *stage) do(f func() error) error {
	done := make(chan error)
	s.work <- func() { done <- f() }
	return <-done
}

// root builds a root folder on the stage. /usr is the machine's; /sbin, /etc and
// /lib/lsb are the test's own.
func (s *stage) root(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755)) // for users other than root
	for _, dir := range []string{"usr", "proc", "dev", "lib", "sbin", "etc", "tmp"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	must(t, s.do(func() error {
		for _, dir := range []string{"usr", "proc", "dev"} {
			if err := unix.Mount("/"+dir, filepath.Join(root, dir), "", unix.MS_BIND, ""); err != nil {
				return &os.PathError{Op: "bind", Path: "/" + dir, Err: err}
			}
		}
		return nil
	}))
	for _, dir := range []string{"bin", "lib64"} {
		must(t, os.Symlink("usr/"+dir, filepath.Join(root, dir)))
	}
	entries, err := os.ReadDir("/usr/lib")
	must(t, err)
	for _, e := range entries {
		if e.Name() != "lsb" {
			must(t, os.Symlink("/usr/lib/"+e.Name(), filepath.Join(root, "lib", e.Name())))
		}
	}
	return root
}

// put copies a file to a place in a root.
func put(t *testing.T, from, root, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	write(t, root, to, string(b), mode)
}

func write(t *testing.T, root, to, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(root, to)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), mode))
	must(t, os.Chmod(path, mode)) // whatever the umask
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
