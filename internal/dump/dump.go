// Package dump reads lists of the kernel's network configuration whole. The
// kernel hands such a list over in parts and marks it when something changed
// between two of them (NLM_F_DUMP_INTR); vishvananda/netlink then returns what
// it got and ErrDumpInterrupted. On a busy host that is ordinary: read again.
package dump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// attempts is how often a list is read that others change all the time.
const attempts = 20

// Whole calls list until the kernel says that nothing changed meanwhile. When
// that never happens the error is the last one, netlink.ErrDumpInterrupted.
func Whole[T any](list func() (T, error)) (T, error) {
	for n := 1; ; n++ {
		got, err := list()
		if n == attempts || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return got, err
		}
	}
}
