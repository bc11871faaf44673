package daemon

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// trimAfter is how long after a start or a reload its memory is given back.
const trimAfter = 3 * time.Second

// Until then the garbage collector leaves a start alone, which has better to do;
// daily life is a small heap that lives long, and memory is worth more than the
// time. A reload is daily life: memory that it gets from the collector has been
// touched before, and a first touch of as much costs more than collecting it. GOGC
// overrules both.
const hurried, calm = 400, 50

func collect(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// trim gives back what a start or a reload needed and daily life does not: Go's
// runtime would keep most of it for ever.
func (d *Daemon) trim(ctx context.Context) {
	timer := time.NewTimer(trimAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.grown:
			timer.Reset(trimAfter)
		case <-timer.C:
			collect(calm)
			debug.FreeOSMemory()
			releaseCode()
		}
	}
}

// releaseCode unmaps the pages of this program's code: most of what is resident
// of it was only for the start. What is needed still is mapped anew when it is
// used, from the page cache. Only code is: what is read-only otherwise may have
// been written to before (relocations).
func releaseCode() {
	for _, m := range codeOf("/proc/self/maps") {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED) // or it stays
	}
}

type mapping struct{ begin, end uintptr }

// codeOf finds the executable mappings of this program's own file.
func codeOf(maps string) (list []mapping) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	f, err := os.Open(maps)
	if err != nil {
		return nil
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		// 00400000-00b2d000 r-xp 00000000 fe:00 1234    /usr/sbin/goipvsd
		fields := strings.Fields(in.Text())
		var m mapping
		if len(fields) > 5 && fields[1] == "r-xp" && strings.HasSuffix(in.Text(), " "+self) {
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.begin, &m.end); err == nil {
				list = append(list, m)
			}
		}
	}
	return list
}
