package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// serve answers the requests in dir, one after the other, until the lab ends.
// It looks at the folder only, as system calls are slow in a lab and looking
// must not slow down what it looks for.
func serve(goipvs, dir string) error {
	directors := map[string]chan<- func(){}
	done := map[string]bool{}
	for ; ; time.Sleep(tick) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), ".request")
			if !ok || done[id] {
				continue
			}
			done[id] = true
			if err := serveOne(goipvs, filepath.Join(dir, id), directors); err != nil {
				return err
			}
		}
	}
}

func serveOne(goipvs, name string, directors map[string]chan<- func()) error {
	var r request
	if err := get(name+".request", &r); err != nil {
		return err
	}
	if directors[r.Director] == nil {
		d, err := newDirector()
		if err != nil {
			return err
		}
		directors[r.Director] = d
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(goipvs, r.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(r.Stdin), &out, &errs
	started := make(chan error)
	directors[r.Director] <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return put(name+".answer", answer{cmd.ProcessState.ExitCode(), out.Bytes(), errs.Bytes()})
}

// newDirector makes a network namespace, and a thread that stays in it and does
// what it is sent there.
func newDirector() (chan<- func(), error) {
	work := make(chan func())
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		ready <- newNetns()
		for f := range work {
			f()
		}
	}()
	return work, <-ready
}

func newNetns() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo) // or IPVS refuses real servers
}
