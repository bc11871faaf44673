package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inner is the half that runs in the kernel.
type inner struct {
	dir     string // where the rule files and the outer half's answers are
	goipvs  string
	ipvsadm string
	libs    string
	marks   int
}

// tool is one of the two programs that are compared.
type tool struct {
	name string
	path string
	env  []string
}

func (b *inner) tools() []tool {
	return []tool{
		{"ipvsadm", b.ipvsadm, []string{"LD_LIBRARY_PATH=" + b.libs}},
		{"goipvs", b.goipvs, nil},
	}
}

// mark tells the outer half that name begins or has ended, and waits until it
// has read the clock.
func (b *inner) mark(word, name string) error {
	b.marks++
	answer := filepath.Join(b.dir, fmt.Sprintf("mark-%d", b.marks))
	fmt.Printf("%s\t%s\n", word, name)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(answer); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s %s: the outer half does not answer", word, name)
}

// measure runs f between two marks, and reports the most memory that a
// command of f has used.
func (b *inner) measure(name string, f func() (rss int64, err error)) error {
	if err := b.mark("begin", name); err != nil {
		return err
	}
	rss, err := f()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := b.mark("end", name); err != nil {
		return err
	}
	fmt.Printf("rss\t%s\t%d\n", name, rss)
	return nil
}

// run runs a command and returns the most memory it has used, in KiB.
func (t tool) run(stdin string, args ...string) (rss int64, err error) {
	u, err := t.usage(stdin, args...)
	if err != nil {
		return 0, err
	}
	return u.Maxrss, nil
}

// state runs a command with the file stdin ("" for none), in the namespace of
// the calling thread.
func (t tool) state(stdin string, args ...string) (*os.ProcessState, error) {
	cmd := exec.Command(t.path, args...)
	cmd.Env = append(os.Environ(), t.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if stdin != "" {
		f, err := os.Open(stdin)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %v: %w: %s", t.name, args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return cmd.ProcessState, nil
}

// fresh runs f on a thread in a new network namespace. The thread stays, so
// that taking down a large table is not counted to what comes next.
func fresh(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("new network namespace: %w", err)
			return
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err == nil {
			err = f()
		}
		result <- err
		select {}
	}()
	return <-result
}

func (b *inner) rules(t table) (string, error) {
	path := filepath.Join(b.dir, fmt.Sprintf("rules-%d-%d", t.services, t.weight))
	return path, t.write(path)
}

// run runs all comparisons, small ones in rounds that interleave the programs.
func (b *inner) run(rounds, large int) error {
	for range rounds {
		if err := b.restore(1000, b.tools()); err != nil {
			return err
		}
		if err := b.oneShot(100); err != nil {
			return err
		}
	}
	return b.largeTable(large)
}

// restore measures -R into an empty table.
func (b *inner) restore(services int, tools []tool) error {
	file, err := b.rules(table{services, 10})
	if err != nil {
		return err
	}
	for _, t := range tools {
		err := fresh(func() error {
			return b.measure(fmt.Sprintf("%s -R %dx%d", t.name, services, servers), func() (int64, error) {
				return t.run(file, "-R")
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// oneShot measures n runs of -A.
func (b *inner) oneShot(n int) error {
	for _, t := range b.tools() {
		err := fresh(func() error {
			return b.measure(fmt.Sprintf("%s -A, %d times", t.name, n), func() (rss int64, err error) {
				for i := range n {
					if rss, err = t.run("", "-A", "-t", fmt.Sprintf("10.0.0.%d:80", i+1), "-s", "wlc"); err != nil {
						return 0, err
					}
				}
				return rss, nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// largeTable measures, on one large table, -Ln, -Sn and the change of one
// server in a thousand, a weight in every hundredth service.
func (b *inner) largeTable(services int) error {
	before, err := b.rules(table{services, 10})
	if err != nil {
		return err
	}
	after, err := b.rules(table{services, 20})
	if err != nil {
		return err
	}
	size := fmt.Sprintf("%dx%d", services, servers)
	tools := b.tools()
	ipvsadm, goipvs := tools[0], tools[1]
	step := func(t tool, what, stdin string, args ...string) error {
		return b.measure(t.name+" "+what+" "+size, func() (int64, error) { return t.run(stdin, args...) })
	}
	err = fresh(func() error {
		if err := step(goipvs, "-R", before, "-R"); err != nil {
			return err
		}
		for range 3 {
			for _, t := range tools {
				if err := step(t, "-Ln", "", "-Ln"); err != nil {
					return err
				}
				if err := step(t, "-Sn", "", "-Sn"); err != nil {
					return err
				}
			}
		}
		for _, file := range []string{after, before, after} {
			if err := step(goipvs, "apply, 1 % changed,", "", "apply", file); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fresh(func() error {
		if _, err := goipvs.run(before, "-R"); err != nil {
			return err
		}
		return b.measure("ipvsadm -C and -R, 1 % changed, "+size, func() (int64, error) {
			if _, err := ipvsadm.run("", "-C"); err != nil {
				return 0, err
			}
			return ipvsadm.run(after, "-R")
		})
	})
}
