// Package kmod finds the files of kernel modules by the names the kernel and
// people use, from the lists that depmod made.
package kmod
