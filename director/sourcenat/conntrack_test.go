package sourcenat

import "testing"

// entry is TCP 10.1.0.2:40000 -> 192.0.2.10:80, answered 10.9.0.11:80 ->
// 10.9.1.1:40000, in TIME_WAIT.
const entry = "\x02\x00\x00\x00" +
	"\x34\x00\x01\x80\x14\x00\x01\x80\x08\x00\x01\x00\x0a\x01\x00\x02\x08\x00\x02\x00\xc0\x00\x02\x0a\x1c\x00\x02\x80\x05\x00\x01\x00\x06\x00\x00\x00\x06\x00\x02\x00\x9c\x40\x00\x00\x06\x00\x03\x00\x00\x50\x00\x00" +
	"\x34\x00\x02\x80\x14\x00\x01\x80\x08\x00\x01\x00\x0a\x09\x00\x0b\x08\x00\x02\x00\x0a\x09\x01\x01\x1c\x00\x02\x80\x05\x00\x01\x00\x06\x00\x00\x00\x06\x00\x02\x00\x00\x50\x00\x00\x06\x00\x03\x00\x9c\x40\x00\x00" +
	"\x08\x00\x03\x00\x00\x00\x00\x1e" + "\x10\x00\x04\x80\x0c\x00\x01\x80\x05\x00\x01\x00\x07\x00\x00\x00"

// Whatever comes from the kernel is read without a panic.
func FuzzDecodeConnection(f *testing.F) {
	f.Add([]byte(entry))
	f.Add([]byte{2, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := decodeConnection(b)
		if ok && (!c.Client.IsValid() || !c.Local.IsValid()) {
			t.Errorf("%+v", c)
		}
	})
}

// TestDecodeConnection: an entry as the kernel writes it.
func TestDecodeConnection(t *testing.T) {
	b := []byte(entry)
	c, ok := decodeConnection(b)
	if !ok || c.Service.String() != "tcp 192.0.2.10:80" || c.Client.String() != "10.1.0.2:40000" || c.Server.String() != "10.9.0.11:80" || c.Local.String() != "10.9.1.1:40000" || !c.Closed {
		t.Errorf("%+v, %v", c, ok)
	}
	b[115] = 0x0e // no source NAT
	if c, ok := decodeConnection(b); ok {
		t.Errorf("%+v has a local address", c)
	}
}
