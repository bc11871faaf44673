package daemon

import (
	"context"
	"os"
	"time"
	"unsafe"

	"github.com/goipvs/goipvs/healthcheck"
	"golang.org/x/sys/unix"
)

// adoptedEvery is how long what nobody waits for may be there.
const adoptedEvery = time.Second

// reapAdopted waits, as process 1 of a container has to, for what the operator's
// commands left behind: a command that is killed leaves its children to us, and
// each that has ended would take a place in the container's process table.
func reapAdopted(ctx context.Context) {
	if os.Getpid() == 1 {
		every(ctx, adoptedEvery, func() {
			for reapOne() {
			}
		})
	}
}

// reapOne takes a child that has ended, unless it is one that we started: whoever
// did waits for it at this moment.
func reapOne() bool {
	var ended unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &ended, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return false // no child at all
	}
	pid := childOf(&ended)
	if pid == 0 || !healthcheck.Orphan(pid) {
		return false
	}
	_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil
}

// childOf is si_pid, which package unix does not show: the first field behind the
// three of every signal, aligned as a pointer (asm-generic/siginfo.h).
func childOf(s *unix.Siginfo) int {
	const word = unsafe.Sizeof(uintptr(0))
	const behind = (unsafe.Offsetof(s.Code) + unsafe.Sizeof(s.Code) + word - 1) / word * word
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(s), behind)))
}
