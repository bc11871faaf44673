package wire

import "encoding/binary"

// Sizes of the headers: struct nlmsghdr, struct genlmsghdr, struct nlattr.
const (
	headerLen  = 16
	GenericLen = 4
	attrLen    = 4
)

// native is the byte order netlink speaks.
var native = binary.NativeEndian

// An Encoder appends netlink messages to Buf. The zero value is ready; keep it
// and cut Buf to length 0 to reuse the memory.
type Encoder struct{ Buf []byte }

// A Mark is where a message or nested attribute begins.
type Mark int

// Message begins a message of the given type (a generic netlink family) with a
// generic netlink header. [Encoder.EndMessage] finishes it.
func (e *Encoder) Message(typ, flags uint16, seq uint32, cmd, version uint8) Mark {
	m := Mark(len(e.Buf))
	b := native.AppendUint32(e.Buf, 0) // the length, set by EndMessage
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0) // port: the kernel knows the sender
	b = append(b, cmd, version, 0, 0)
	e.Buf = b
	return m
}

// EndMessage sets the length of the message that began at m.
func (e *Encoder) EndMessage(m Mark) {
	native.PutUint32(e.Buf[m:], uint32(len(e.Buf)-int(m)))
}

// AddFlags sets further flags in the header of the message at m.
func (e *Encoder) AddFlags(m Mark, flags uint16) {
	f := e.Buf[m+6:]
	native.PutUint16(f, native.Uint16(f)|flags)
}

// Nest begins an attribute that holds attributes. [Encoder.EndNest] finishes
// it. NLA_F_NESTED is not set: IPVS parses with nla_parse_nested_deprecated,
// which does not ask for it.
func (e *Encoder) Nest(typ uint16) Mark {
	m := Mark(len(e.Buf))
	e.header(typ, 0)
	return m
}

// EndNest sets the length of the attribute that began at m.
func (e *Encoder) EndNest(m Mark) {
	native.PutUint16(e.Buf[m:], uint16(len(e.Buf)-int(m)))
}

// U8 appends a number of one byte.
func (e *Encoder) U8(typ uint16, v uint8) {
	e.header(typ, 1)
	e.Buf = append(e.Buf, v, 0, 0, 0)
}

// U16 appends a number in the machine's order.
func (e *Encoder) U16(typ, v uint16) {
	e.header(typ, 2)
	e.Buf = append(native.AppendUint16(e.Buf, v), 0, 0)
}

// Port appends a number in network order.
func (e *Encoder) Port(typ, v uint16) {
	e.header(typ, 2)
	e.Buf = append(e.Buf, byte(v>>8), byte(v), 0, 0)
}

// U32 appends a number in the machine's order.
func (e *Encoder) U32(typ uint16, v uint32) {
	e.header(typ, 4)
	e.Buf = native.AppendUint32(e.Buf, v)
}

// Pair appends two numbers of 32 bits in the machine's order, as in struct ip_vs_flags.
func (e *Encoder) Pair(typ uint16, a, b uint32) {
	e.header(typ, 8)
	e.Buf = native.AppendUint32(native.AppendUint32(e.Buf, a), b)
}

// Bytes appends v as it is. v must be shorter than 64 KiB.
func (e *Encoder) Bytes(typ uint16, v []byte) {
	e.header(typ, len(v))
	e.Buf = append(e.Buf, v...)
	e.pad()
}

// String appends v and a NUL. v must be shorter than 64 KiB.
func (e *Encoder) String(typ uint16, v string) {
	e.header(typ, len(v)+1)
	e.Buf = append(append(e.Buf, v...), 0)
	e.pad()
}

func (e *Encoder) header(typ uint16, n int) {
	e.Buf = native.AppendUint16(e.Buf, uint16(attrLen+n))
	e.Buf = native.AppendUint16(e.Buf, typ)
}

func (e *Encoder) pad() {
	for len(e.Buf)%4 != 0 {
		e.Buf = append(e.Buf, 0)
	}
}
