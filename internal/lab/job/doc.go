// Package job is what the two halves of the lab say to each other: the order
// that the half on the host writes before it starts a kernel, and the short
// lines that go over the control channel while the kernel runs.
package job
