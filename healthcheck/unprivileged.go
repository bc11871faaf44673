package healthcheck

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startWithout starts a program without the capabilities that this process
// passes on to its children (the ambient ones, by which a daemon that is not
// root has CAP_NET_ADMIN). They belong to a thread, and are raised again; they
// matter to children only, so that a thread that lost them does no harm.
func startWithout(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	held := ambient()
	if len(held) > 0 {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			return err
		}
		defer func() {
			for _, c := range held {
				unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0)
			}
		}()
	}
	return cmd.Start()
}

// ambient lists the thread's ambient capabilities.
func ambient() (held []int) {
	for c := range unix.CAP_LAST_CAP + 1 {
		if set, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err == nil && set == 1 {
			held = append(held, c)
		}
	}
	return held
}
