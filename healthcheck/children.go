package healthcheck

import (
	"os/exec"
	"sync"
	"sync/atomic"
)

// children are the programs that Confinement.Start has started and whose end is
// still to be waited for, by process.
var children struct {
	starting atomic.Int32
	running  sync.Map
}

// waiting takes note of a program that runs, and returns what waits for its end.
func waiting(cmd *exec.Cmd) (wait func() error) {
	pid := cmd.Process.Pid
	children.running.Store(pid, true)
	return func() error {
		defer children.running.Delete(pid)
		return cmd.Wait()
	}
}

// Orphan reports whether a child of this process, which has ended, is nobody's: a
// process 1 has to wait for those, and must not for the others, whatever group or
// session they have moved to. While a program is being started nobody knows, and
// it is none.
func Orphan(pid int) bool {
	if children.starting.Load() > 0 { // before running is asked: what is started by now is in there
		return false
	}
	_, ours := children.running.Load(pid)
	return !ours
}
