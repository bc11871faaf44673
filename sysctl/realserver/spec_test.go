package realserver

import "testing"

func TestParseTunnel(t *testing.T) {
	for text, want := range map[string]Tunnel{"ipip": {Kind: "ipip"}, "gre": {Kind: "gre"}, "gue:6080": {"gue", 6080}, "gue:65535": {"gue", 65535}} {
		if got, err := ParseTunnel(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "gue", "gue:", "gue:0", "gue:65536", "gue:-1", "gre:1", "ipip:", "vxlan", "GRE"} {
		if got, err := ParseTunnel(bad); err == nil {
			t.Errorf("%q: %+v, no error", bad, got)
		}
	}
}

func FuzzParseTunnel(f *testing.F) {
	f.Add("gue:6080")
	f.Add("ipip")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseTunnel(s)
		if err != nil {
			return
		}
		if again, err := ParseTunnel(a.String()); err != nil || again != a {
			t.Errorf("%q is %+v, which reads as %+v, %v", s, a, again, err)
		}
	})
}

// TestRecordChecked: a record cannot name a knob that we never set.
func TestRecordChecked(t *testing.T) {
	for _, h := range []held{
		{Knob: "kernel/core_pattern", Found: "1", Set: "0"},
		{Knob: "net/ipv4/conf/eth0/forwarding", Found: "1", Set: "0"},
		{Knob: "net/ipv4/conf/eth0/arp_ignore", Found: "x", Set: "0"},
	} {
		if (&state{Knobs: []held{h}}).check() == nil {
			t.Errorf("%+v: no error", h)
		}
	}
	good := state{Knobs: []held{{Knob: "net/ipv4/conf/eth0.5/arp_ignore", Found: "3", Set: "1"}}, Devices: []string{"tunl0"}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}
