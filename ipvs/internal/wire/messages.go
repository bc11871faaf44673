package wire

import "errors"

// What can be wrong with received bytes.
var (
	ErrShort     = errors.New("netlink: message or attribute cut short")
	ErrAttribute = errors.New("netlink: attribute shorter than its value")
)

// Message is one netlink message inside a received buffer, which it shares.
type Message struct {
	Type, Flags uint16
	Seq, PortID uint32
	Payload     []byte
}

// Messages walks the messages of one datagram:
//
//	for it := wire.NewMessages(b); it.Next(); { use(it.Message()) }
type Messages struct {
	rest []byte
	msg  Message
	err  error
}

// NewMessages walks b.
func NewMessages(b []byte) Messages { return Messages{rest: b} }

// Next finds the next message and tells whether there is one.
func (it *Messages) Next() bool {
	if len(it.rest) == 0 || it.err != nil {
		return false
	}
	if len(it.rest) < headerLen {
		return it.fail()
	}
	n := uint64(native.Uint32(it.rest))
	if n < headerLen || n > uint64(len(it.rest)) {
		return it.fail()
	}
	it.msg = Message{
		Type:    native.Uint16(it.rest[4:]),
		Flags:   native.Uint16(it.rest[6:]),
		Seq:     native.Uint32(it.rest[8:]),
		PortID:  native.Uint32(it.rest[12:]),
		Payload: it.rest[headerLen:n:n],
	}
	it.rest = it.rest[min(align(int(n)), len(it.rest)):]
	return true
}

// Message is what Next found.
func (it *Messages) Message() Message { return it.msg }

// Err is nil when the whole datagram was understood.
func (it *Messages) Err() error { return it.err }

func (it *Messages) fail() bool {
	it.err = ErrShort
	return false
}

func align(n int) int { return (n + 3) &^ 3 }

// Retarget gives the encoded messages of b another type and new sequence
// numbers, which count up from first.
func Retarget(b []byte, typ uint16, first uint32) {
	for len(b) >= headerLen {
		n := int(native.Uint32(b))
		native.PutUint16(b[4:], typ)
		native.PutUint32(b[8:], first)
		first++
		b = b[min(max(align(n), headerLen), len(b)):]
	}
}
