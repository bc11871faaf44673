package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of the times in /proc/PID/stat (USER_HZ).
const tick = 10 * time.Millisecond

type process struct {
	parent int
	cpu    time.Duration // its own and that of the children it waited for
}

// descendantsCPU is the CPU time that the descendants of pid have used, those
// included that have ended.
func descendantsCPU(pid int) time.Duration {
	all := processes()
	var sum time.Duration
	for id := range all {
		if isDescendant(all, id, pid) {
			sum += all[id].cpu
		}
	}
	return sum
}

func isDescendant(all map[int]process, id, of int) bool {
	for id = all[id].parent; id > 1; id = all[id].parent {
		if id == of {
			return true
		}
	}
	return false
}

func processes() map[int]process {
	all := make(map[int]process)
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it ended
		}
		// the name, in parentheses, may hold blanks
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(fields) < 15 {
			continue
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		p := process{parent: number(fields[1])}
		for _, t := range fields[11:15] { // utime stime cutime cstime
			p.cpu += time.Duration(number(t)) * tick
		}
		all[id] = p
	}
	return all
}

func number(b []byte) int {
	n, _ := strconv.Atoi(string(b))
	return n
}
