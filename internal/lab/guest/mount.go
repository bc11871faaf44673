package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// runDir is ours: temporary files, the name the kernel calls modprobe by.
const runDir = "/run/lab"

// tempDir becomes TMPDIR of the program. /tmp stays as it is, because go test
// keeps binaries and coverage there.
const tempDir = runDir + "/tmp"

type mount struct {
	fs, dir string
	flags   uintptr
	data    string
}

// mountKernel mounts what is the kernel's own.
func mountKernel() error {
	err := mountAll([]mount{
		{"proc", "/proc", 0, ""},
		{"sysfs", "/sys", 0, ""},
		{"devtmpfs", "/dev", 0, "mode=755"},
		{"devpts", "/dev/pts", 0, "mode=620,ptmxmode=666"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID, "mode=1777"},
	})
	if err != nil {
		return err
	}
	for name, to := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+to, "/dev/"+name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// mountTemporary mounts the folders that shall not show or touch the host's
// files.
func mountTemporary(j *job.Job) error {
	for _, p := range []string{j.Path, j.Dir} {
		if strings.HasPrefix(p, "/run/") {
			return fmt.Errorf("%s is under /run, which the lab replaces: move it", p)
		}
	}
	if err := mountAll([]mount{{"tmpfs", "/run", unix.MS_NOSUID, "mode=755"}}); err != nil {
		return err
	}
	return os.MkdirAll(tempDir, 0o777)
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.fs, m.dir, m.fs, m.flags, m.data)
		if err != nil && !errors.Is(err, unix.EBUSY) { // EBUSY: the kernel mounted /dev itself
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}
