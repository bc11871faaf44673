// Package boot starts a kernel that has IPVS, runs one program in it and
// brings back everything the program wrote and its exit status.
//
// Three processes take part. The lab command prepares the kernel and copies
// output. Its watcher, in a session of its own, is the parent of the kernel
// and ends it with all its processes when the kernel is done or the lab
// command is gone, however that died. The kernel itself is user-mode Linux,
// QEMU or, in a fresh network namespace, the host's own.
package boot
