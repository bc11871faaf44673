package snat

import "testing"

// Whatever comes from the kernel, or from somebody who speaks in its place, is
// read without a panic.
func FuzzDecodeRule(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x0b\x00\x07\x00tcp 1:2\x00"))
	f.Add([]byte{2, 0, 0, 0, 4, 0, 4, 0x80})
	f.Add([]byte("\x02\x00\x00\x00\x1e\x00\x07\x00tcp 192.0.2.1:80 192.0.2.2\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sign, _, _ := decodeRule(b)
		if s, ok := parseSign(sign); ok {
			if again, ok := parseSign(s.sign()); !ok || again.sign() != s.sign() {
				t.Errorf("%q is read as %+v and then as %+v", sign, s, again)
			}
		}
	})
}
