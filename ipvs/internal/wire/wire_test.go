package wire

import (
	"encoding/hex"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// request is a message with every kind of attribute.
func request(e *Encoder) {
	m := e.Message(0x1c, 0x5, 7, 3, 1)
	n := e.Nest(1)
	e.U8(2, 0xab)
	e.U16(3, 0x1234)
	e.Port(4, 0x1234)
	e.U32(5, 0x12345678)
	e.Pair(6, 1, 0xffffffff)
	e.Bytes(7, []byte{10, 0, 0, 1})
	e.Bytes(8, []byte{1, 2, 3, 4, 5})
	e.String(9, "wlc")
	e.String(10, "")
	e.EndNest(n)
	e.EndMessage(m)
	e.AddFlags(m, 0x300)
}

// The bytes as a little-endian machine sends them.
const golden = `
68000000 1c000503 07000000 00000000
03010000
54000100
05000200 ab000000
06000300 34120000
06000400 12340000
08000500 78563412
0c000600 01000000 ffffffff
08000700 0a000001
09000800 01020304 05000000
08000900 776c6300
05000a00 00000000
`

func TestEncoder(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are those of a little-endian machine")
	}
	want := strings.Join(strings.Fields(golden), "")
	var e Encoder
	for range 2 { // and again in the same memory
		e.Buf = e.Buf[:0]
		request(&e)
		if diff := cmp.Diff(want, hex.EncodeToString(e.Buf)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	var e Encoder
	request(&e)
	request(&e)
	Retarget(e.Buf, 0x1d, 100)
	var got []Message
	it := NewMessages(e.Buf)
	for it.Next() {
		m := it.Message()
		got = append(got, Message{Type: m.Type, Flags: m.Flags, Seq: m.Seq})
		attrs(t, m.Payload[GenericLen:])
	}
	want := []Message{{Type: 0x1d, Flags: 0x305, Seq: 100}, {Type: 0x1d, Flags: 0x305, Seq: 101}}
	if diff := cmp.Diff(want, got); diff != "" || it.Err() != nil {
		t.Errorf("%v\n%s", it.Err(), diff)
	}
}

func attrs(t *testing.T, b []byte) {
	t.Helper()
	out := NewAttrs(b)
	if !out.Next() || out.Type() != 1 {
		t.Fatalf("type %d, %v", out.Type(), out.Err())
	}
	var got []any
	for it := NewAttrs(out.Bytes()); it.Next(); {
		switch it.Type() {
		case 2:
			got = append(got, it.U8())
		case 3:
			got = append(got, it.U16())
		case 4:
			got = append(got, it.Port())
		case 5:
			got = append(got, it.U32(), it.Uint())
		case 6:
			got = append(got, it.U32())
		case 7, 8:
			got = append(got, it.Bytes())
		case 9, 10:
			got = append(got, string(it.CString()))
		}
		if it.Err() != nil {
			t.Error(it.Err())
		}
	}
	want := []any{uint8(0xab), uint16(0x1234), uint16(0x1234), uint32(0x12345678), uint64(0x12345678), uint32(1),
		[]byte{10, 0, 0, 1}, []byte{1, 2, 3, 4, 5}, "wlc", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesMalformed(t *testing.T) {
	var e Encoder
	request(&e)
	whole := len(e.Buf)
	for _, tc := range []struct {
		name string
		mend func(b []byte) []byte
		n    int
		err  error
	}{
		{"empty", func(b []byte) []byte { return nil }, 0, nil},
		{"whole", func(b []byte) []byte { return b }, 1, nil},
		{"length 0", func(b []byte) []byte { native.PutUint32(b, 0); return b }, 0, ErrShort},
		{"length 15", func(b []byte) []byte { native.PutUint32(b, 15); return b }, 0, ErrShort},
		{"length past the end", func(b []byte) []byte { native.PutUint32(b, uint32(whole+1)); return b }, 0, ErrShort},
		{"length 2^32-1", func(b []byte) []byte { native.PutUint32(b, 1<<32-1); return b }, 0, ErrShort},
		{"header cut", func(b []byte) []byte { return b[:15] }, 0, ErrShort},
		{"body cut", func(b []byte) []byte { return b[:whole-1] }, 0, ErrShort},
		{"second cut", func(b []byte) []byte { return append(b, b[:20]...) }, 1, ErrShort},
		{"length odd, padding missing", func(b []byte) []byte { native.PutUint32(b, uint32(whole-3)); return b[:whole-3] }, 1, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			it := NewMessages(tc.mend(append([]byte(nil), e.Buf...)))
			n := 0
			for it.Next() {
				n++
			}
			if n != tc.n || !errors.Is(it.Err(), tc.err) || it.Next() {
				t.Errorf("%d messages, %v; want %d, %v", n, it.Err(), tc.n, tc.err)
			}
		})
	}
}

func TestAttrsMalformed(t *testing.T) {
	for _, tc := range []struct {
		name string
		b    []byte
		n    int
		err  error
	}{
		{"empty", nil, 0, nil},
		{"header cut", []byte{8, 0, 1}, 0, ErrShort},
		{"length 0", make([]byte, 64), 0, ErrShort},
		{"length 3", attr(3, 1), 0, ErrShort},
		{"past the end", attr(9, 1), 0, ErrShort},
		{"no value", attr(4, 1)[:4], 1, nil},
		{"value of 4", attr(8, 1), 1, nil},
		{"nested flag", attr(8, 1|1<<15), 1, nil},
		{"left-over", append(attr(8, 1), 1), 1, ErrShort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			it := NewAttrs(tc.b)
			for it.Next() {
				n++
				if it.Type() != 1 {
					t.Errorf("type %#x", it.Type())
				}
			}
			if n != tc.n || !errors.Is(it.Err(), tc.err) || it.Next() {
				t.Errorf("%d attributes, %v; want %d, %v", n, it.Err(), tc.n, tc.err)
			}
		})
	}
}

// attr is a header and four bytes.
func attr(length, typ uint16) []byte {
	b := native.AppendUint16(native.AppendUint16(nil, length), typ)
	return append(b, 1, 2, 3, 4)
}

func TestShortValue(t *testing.T) {
	reads := map[string]func(it *Attrs) uint64{
		"U8":   func(it *Attrs) uint64 { return uint64(it.U8()) },
		"U16":  func(it *Attrs) uint64 { return uint64(it.U16()) },
		"Port": func(it *Attrs) uint64 { return uint64(it.Port()) },
		"U32":  func(it *Attrs) uint64 { return uint64(it.U32()) },
		"Uint": func(it *Attrs) uint64 { return it.Uint() },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			it := NewAttrs(append(attr(4, 1)[:4], attr(8, 2)...))
			it.Next()
			if v := read(&it); v != 0 || !errors.Is(it.Err(), ErrAttribute) {
				t.Errorf("%d, %v", v, it.Err())
			}
			if it.Next() {
				t.Error("goes on after an error")
			}
		})
	}
}

// reply is an NLMSG_ERROR for a request of the given length.
func reply(errno int32, flags uint16, requestLen uint32, rest ...byte) Message {
	p := native.AppendUint32(nil, uint32(errno))
	p = native.AppendUint32(p, requestLen)
	p = append(p, make([]byte, headerLen-4)...)
	return Message{Type: 2, Flags: flags, Payload: append(p, rest...)}
}

func noGood() []byte {
	var e Encoder
	e.U32(2, 99) // NLMSGERR_ATTR_OFFS
	e.String(ackMessage, "no good")
	return e.Buf
}

func TestErrorReply(t *testing.T) {
	for _, tc := range []struct {
		name  string
		m     Message
		errno syscall.Errno
		err   error
		text  string
	}{
		{"ack", reply(0, flagCapped, 100), 0, nil, ""},
		{"refused", reply(-3, flagCapped, 100), syscall.ESRCH, nil, ""},
		{"with words", reply(-22, flagCapped|flagAckTLVs, 100, noGood()...), syscall.EINVAL, nil, "no good"},
		{"with words after the request", reply(-22, flagAckTLVs, 22, append(make([]byte, 8), noGood()...)...), syscall.EINVAL, nil, "no good"},
		{"words without the flag", reply(-22, flagCapped, 100, noGood()...), syscall.EINVAL, nil, ""},
		{"request longer than the reply", reply(-22, flagAckTLVs, 100, noGood()...), syscall.EINVAL, nil, ""},
		{"request of length 0", reply(-22, flagAckTLVs, 0, noGood()...), syscall.EINVAL, nil, ""},
		{"words cut", reply(-22, flagCapped|flagAckTLVs, 100, noGood()[:13]...), syscall.EINVAL, nil, ""},
		{"no request", Message{Flags: flagAckTLVs, Payload: native.AppendUint32(nil, ^uint32(21))}, syscall.EINVAL, nil, ""},
		{"positive", reply(3, flagCapped, 100), 0, ErrShort, ""},
		{"empty", Message{}, 0, ErrShort, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			errno, err := Errno(tc.m.Payload)
			if errno != tc.errno || !errors.Is(err, tc.err) || ErrorText(tc.m) != tc.text {
				t.Errorf("%v, %v, %q; want %v, %v, %q", errno, err, ErrorText(tc.m), tc.errno, tc.err, tc.text)
			}
		})
	}
}
