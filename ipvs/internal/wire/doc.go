// Package wire writes and reads netlink messages: pure functions over bytes.
//
// An [Encoder] appends messages and attributes to one buffer. [Messages] and
// [Attrs] walk received bytes without copying; whatever the bytes are, they
// end, stay inside, and remember the first thing that was wrong.
//
// The formats are those of include/uapi/linux/netlink.h and genetlink.h:
// lengths and numbers in the machine's byte order, everything padded to four
// bytes.
package wire
