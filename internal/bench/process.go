package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat (USER_HZ).
const tick = 10 * time.Millisecond

// Tree lists a process, first, and its descendants.
func Tree(pid int) []int {
	parents := make(map[int]int)
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if s := stat(id); len(s) > 1 {
			parents[id], _ = strconv.Atoi(s[1])
		}
	}
	out := []int{pid}
	for i := 0; i < len(out); i++ {
		for id, parent := range parents {
			if parent == out[i] {
				out = append(out, id)
			}
		}
	}
	return out
}

// stat are the fields of /proc/PID/stat after the name.
func stat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil // it ended
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// CPU is the user and system time of processes, with that of their children that
// have ended.
func CPU(pids ...int) (sum time.Duration) {
	for _, id := range pids {
		s := stat(id)
		if len(s) < 15 {
			continue
		}
		for _, t := range s[11:15] {
			n, _ := strconv.Atoi(t)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// Memory sums a value of /proc/PID/FILE over a process and its descendants, in MiB.
func Memory(pid int, file, name string) (mib float64) {
	for _, id := range Tree(pid) {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(id) + "/" + file)
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, name+":"); ok {
				kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
				mib += kib / 1024
			}
		}
	}
	return mib
}
