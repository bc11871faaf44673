// Ipvsadm compares goipvs with the real ipvsadm, both in the lab's
// kernel and in one run, and writes the figures into docs/performance.md.
//
// Times inside a user-mode kernel are not to be trusted, so what counts is the
// CPU time that the whole kernel costs the machine while a command runs: the
// program has two halves. The outer one boots the lab and, whenever the inner
// one says that a command begins or has ended, adds up the CPU time of the
// kernel's processes. The inner one, in the kernel, runs the commands, each
// load in a network namespace of its own: after a flush the kernel searches
// the deleted servers at every addition, which would be counted to the wrong
// command.
//
// One-shot commands are measured in a stock kernel (QEMU) as well, by the times
// that it charges processes with: they are mostly the start of a process, which
// a user-mode kernel distorts. There every system call costs 0.1 ms, and the Go
// runtime's first choices for its heap are outside its small address space,
// which costs each Go program 130 system calls more than on any other kernel.
package main
