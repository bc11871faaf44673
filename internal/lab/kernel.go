package lab

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/kmod"
)

// Load loads modules that the kernel does not load on demand, such as fou,
// with those they need. A module that is there already is no error.
func Load(modules ...string) error { return kmod.Request(modules...) }

// Release is the kernel's name for itself, as in uname -r.
func Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// AtLeast tells whether the running kernel is of this version or later. Tests
// use it for what newer kernels do differently, not to skip.
func AtLeast(major, minor int) bool { return atLeast(Release(), major, minor) }

func atLeast(release string, major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		return false
	}
	return x > major || x == major && y >= minor
}
