package wire

import "testing"

func seeds(f *testing.F) {
	var e Encoder
	request(&e)
	f.Add(e.Buf)
	f.Add(e.Buf[16:])
	f.Add(make([]byte, 40))
	f.Add([]byte{255, 255, 255, 255})
	m := reply(-22, flagCapped|flagAckTLVs, 100, noGood()...)
	f.Add(m.Payload)
}

// Whatever comes, an iterator ends, stays inside and reads what it says.
func FuzzMessages(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		it := NewMessages(b)
		for it.Next() {
			total += headerLen + len(it.Message().Payload)
		}
		if total > len(b) {
			t.Errorf("%d bytes of messages in %d", total, len(b))
		}
		Retarget(b, 1, 1) // must end
	})
}

func FuzzAttrs(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		it := NewAttrs(b)
		for it.Next() {
			total += attrLen + len(it.Bytes())
			if len(it.CString()) > len(it.Bytes()) {
				t.Error("string longer than its value")
			}
			_, _, _, _, _ = it.U8(), it.U16(), it.Port(), it.U32(), it.Uint()
		}
		if total > len(b) {
			t.Errorf("%d bytes of attributes in %d", total, len(b))
		}
	})
}

func FuzzErrorReply(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, flags := range []uint16{0, flagCapped, flagAckTLVs, flagCapped | flagAckTLVs} {
			if s := ErrorText(Message{Flags: flags, Payload: b}); len(s) > len(b) {
				t.Errorf("%d bytes of text in %d", len(s), len(b))
			}
		}
		if errno, err := Errno(b); err != nil && errno != 0 {
			t.Errorf("%v and %v", errno, err)
		}
	})
}
