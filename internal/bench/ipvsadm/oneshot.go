package main

import (
	"fmt"
	"syscall"
	"time"
)

// oneShotMain measures n runs of -A by the CPU time that each process was
// charged with. Only a kernel on real or emulated hardware keeps such accounts.
func (b *inner) oneShotMain(rounds, n int) error {
	return fresh(func() error {
		next := 0
		for range rounds {
			for _, t := range b.tools() {
				var cpu time.Duration
				var rss int64
				for range n {
					next++
					u, err := t.usage("", "-A", "-t", fmt.Sprintf("10.%d.%d.1:80", next>>8, next&255), "-s", "wlc")
					if err != nil {
						return err
					}
					cpu += time.Duration(u.Utime.Nano() + u.Stime.Nano())
					rss = max(rss, u.Maxrss)
				}
				fmt.Printf("cpu\t%s -A, %d times, stock kernel\t%d\t%d\n", t.name, n, cpu.Microseconds(), rss)
			}
		}
		return nil
	})
}

func (t tool) usage(stdin string, args ...string) (*syscall.Rusage, error) {
	state, err := t.state(stdin, args...)
	if err != nil {
		return nil, err
	}
	return state.SysUsage().(*syscall.Rusage), nil
}
