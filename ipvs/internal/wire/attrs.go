package wire

import "bytes"

// typeMask leaves out NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const typeMask = 0x3fff

// Attrs walks a run of attributes. A value that is too short for what is asked
// of it is remembered by Err and reads as zero:
//
//	it := wire.NewAttrs(b)
//	for it.Next() {
//		switch it.Type() { case attrWeight: w = it.U32() }
//	}
//	return it.Err()
type Attrs struct {
	rest, value []byte
	typ         uint16
	err         error
}

// NewAttrs walks b.
func NewAttrs(b []byte) Attrs { return Attrs{rest: b} }

// Next finds the next attribute and tells whether there is one.
func (it *Attrs) Next() bool {
	if len(it.rest) == 0 || it.err != nil {
		return false
	}
	if len(it.rest) < attrLen {
		it.err = ErrShort
		return false
	}
	n := int(native.Uint16(it.rest))
	if n < attrLen || n > len(it.rest) {
		it.err = ErrShort
		return false
	}
	it.typ = native.Uint16(it.rest[2:]) & typeMask
	it.value = it.rest[attrLen:n:n]
	it.rest = it.rest[min(align(n), len(it.rest)):]
	return true
}

// Type is the attribute's number without the flag bits.
func (it *Attrs) Type() uint16 { return it.typ }

// Err is nil when every attribute was whole and long enough.
func (it *Attrs) Err() error { return it.err }

// Fail remembers err as what is wrong with the attributes, if it is the first.
func (it *Attrs) Fail(err error) {
	if it.err == nil {
		it.err = err
	}
}

// Bytes is the value itself; it shares the received buffer.
func (it *Attrs) Bytes() []byte { return it.value }

// CString is the value up to its first NUL; it shares the received buffer.
func (it *Attrs) CString() []byte {
	if i := bytes.IndexByte(it.value, 0); i >= 0 {
		return it.value[:i]
	}
	return it.value
}

// U8 is the value as a number of one byte.
func (it *Attrs) U8() uint8 {
	if !it.has(1) {
		return 0
	}
	return it.value[0]
}

// U16 is the value as a number in the machine's order.
func (it *Attrs) U16() uint16 {
	if !it.has(2) {
		return 0
	}
	return native.Uint16(it.value)
}

// Port is the value as a number in network order.
func (it *Attrs) Port() uint16 {
	if !it.has(2) {
		return 0
	}
	return uint16(it.value[0])<<8 | uint16(it.value[1])
}

// U32 is the value as a number in the machine's order. A longer value is read
// by its first four bytes: the flags of struct ip_vs_flags.
func (it *Attrs) U32() uint32 {
	if !it.has(4) {
		return 0
	}
	return native.Uint32(it.value)
}

// Uint is the value as a number of 32 or 64 bits, whichever its length says.
func (it *Attrs) Uint() uint64 {
	if len(it.value) >= 8 {
		return native.Uint64(it.value)
	}
	return uint64(it.U32())
}

func (it *Attrs) has(n int) bool {
	if len(it.value) < n {
		it.Fail(ErrAttribute)
		return false
	}
	return true
}
