// Package lab is what a kernel test asks about the kernel it runs on.
//
// Kernel tests change and wipe the kernel's IPVS table, so they never run on
// the machine's own kernel by accident: the lab command (internal/lab/cmd/lab)
// boots a kernel that has IPVS, runs the test binary in it and says so in the
// environment. Need skips the test everywhere else.
//
//	go test -exec "$PWD/bin/lab" -run TestKernel ./ipvs
//
// docs/lab.md has the rest.
package lab
