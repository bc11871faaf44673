// Package guest is the first process of a lab kernel, and the program that
// kernel calls to load a module. It needs nothing of the machine around it: no
// shell, no kmod, no iproute2, no C library.
package guest
