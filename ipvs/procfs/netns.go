package procfs

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// within runs f on a thread that is in the network namespace at path; "" runs
// it where the caller is. f must not start goroutines.
func within(path string, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer ns.Close()
	done := make(chan error)
	go func() { done <- enter(ns, f) }()
	return <-done
}

// enter moves a thread of its own into the namespace and does not bring it
// back: a goroutine that ends without unlocking its thread ends the thread, too,
// so no other goroutine ever finds itself in the wrong namespace. The main
// thread cannot end and is what /proc/self/net shows, so it is never moved:
// while it is locked here, another goroutine runs elsewhere.
func enter(ns *os.File, f func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		done := make(chan error)
		go func() { done <- enter(ns, f) }()
		return <-done
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", ns.Name(), err)
	}
	return f()
}
