package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// enterRoot leaves the initial file system for the host's root, if the kernel
// did not start on it.
func enterRoot(j *job.Job) error {
	if j.Share == "" {
		return nil
	}
	for _, f := range j.Early {
		if err := insert(f); err != nil {
			return fmt.Errorf("load module %s: %w", f, err)
		}
	}
	const dir = "/root"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(j.Share, dir, "9p", 0, shareOptions); err != nil {
		return fmt.Errorf("mount the host's root: %w", err)
	}
	// What switch_root(8) does. Kernel threads share our root, so that the
	// kernel finds its modprobe there too.
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the host's root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return os.Chdir("/")
}

// shareOptions: nobody else changes files while we look, so cache everything;
// what was written reaches the host by the final sync.
const shareOptions = "trans=virtio,version=9p2000.L,msize=262144,cache=loose,access=any"
