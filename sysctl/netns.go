package sysctl

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// Netns is a network namespace to work in. The zero value is that of the
// calling thread. It may be used by several goroutines.
type Netns struct {
	// Path names the namespace: /run/netns/blue, /proc/1234/ns/net. Empty is
	// the calling thread's own.
	Path string
	// Root is the folder of the knobs, empty for /proc/sys. Tests have others.
	Root string
}

// Do runs f in the namespace: the sockets that f opens belong to it for good.
// It holds for f's own goroutine only.
func (n Netns) Do(f func() error) error {
	if n.Path == "" {
		return f()
	}
	there, err := netns.GetFromPath(n.Path)
	if err != nil {
		return fmt.Errorf("sysctl: open network namespace %s: %w", n.Path, err)
	}
	defer there.Close()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("sysctl: find own network namespace: %w", err)
	}
	defer home.Close()
	defer func() {
		// A thread that cannot go home stays locked and ends with its goroutine.
		if err := netns.Set(home); err != nil {
			panic(fmt.Sprintf("sysctl: leave network namespace %s: %v", n.Path, err))
		}
		runtime.UnlockOSThread()
	}()
	if err := netns.Set(there); err != nil {
		return fmt.Errorf("sysctl: enter network namespace %s: %w", n.Path, err)
	}
	return f()
}
