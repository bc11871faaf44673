package wire

import "syscall"

// Flags and attributes of an error reply (include/uapi/linux/netlink.h).
const (
	flagCapped  = 0x100 // NLM_F_CAPPED: the request is not repeated in full
	flagAckTLVs = 0x200 // NLM_F_ACK_TLVS: attributes follow
	ackMessage  = 1     // NLMSGERR_ATTR_MSG
)

// Errno reads the payload of an NLMSG_ERROR or NLMSG_DONE message: 0 is
// success. A payload that holds no number is ErrShort, but for NLMSG_DONE's,
// which may be empty.
func Errno(payload []byte) (syscall.Errno, error) {
	if len(payload) < 4 {
		return 0, ErrShort
	}
	n := int32(native.Uint32(payload))
	if n > 0 {
		return 0, ErrShort // the kernel sends negative numbers
	}
	return syscall.Errno(-int64(n)), nil
}

// ErrorText is the sentence the kernel put into an NLMSG_ERROR reply (NETLINK_EXT_ACK),
// empty when there is none.
func ErrorText(m Message) string {
	if m.Flags&flagAckTLVs == 0 || len(m.Payload) < 4+headerLen {
		return ""
	}
	skip := 4 + headerLen
	if m.Flags&flagCapped == 0 {
		n := uint64(native.Uint32(m.Payload[4:]))
		if n < headerLen || n > uint64(len(m.Payload)-4) {
			return ""
		}
		skip = 4 + align(int(n))
	}
	it := NewAttrs(m.Payload[min(skip, len(m.Payload)):])
	for it.Next() {
		if it.Type() == ackMessage {
			return string(it.CString())
		}
	}
	return ""
}
