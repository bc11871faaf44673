package sysctl

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, path, text string }{
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"},
		{"net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"},
		{"net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"},
		{"/proc/sys/net/ipv4/ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"},
	} {
		k, err := Parse(c.name)
		if err != nil || string(k) != c.path || k.String() != c.text {
			t.Errorf("Parse(%q) = %q, %v, as text %q", c.name, string(k), err, k)
		}
	}
	for _, bad := range []string{"", "ip_forward", "net..ipv4", "net/../kernel/core_pattern", "/etc/passwd/", "net.ipv4.//.x", "net.ipv4 ip_forward", "net.ipv4.ip_forward\x00"} {
		if k, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %q, no error", bad, string(k))
		}
	}
}

// FuzzParse: what is accepted stays below /proc/sys and reads back as itself.
func FuzzParse(f *testing.F) {
	f.Add("net.ipv4.conf.eth0/100.rp_filter")
	f.Add("net/ipv4/conf/eth0.100/rp_filter")
	f.Add("net/ipv4/../../x")
	f.Fuzz(func(t *testing.T, name string) {
		k, err := Parse(name)
		if err != nil {
			return
		}
		if again, err := Parse(string(k)); err != nil || again != k {
			t.Errorf("%q: path %q reads as %q, %v", name, string(k), string(again), err)
		}
		if again, err := Parse(k.String()); err != nil || again != k {
			t.Errorf("%q: text %q reads as %q, %v", name, k, string(again), err)
		}
		if path := (Netns{Root: "/r"}).File(k); path != "/r/"+string(k) {
			t.Errorf("%q leads to %q", name, path)
		}
	})
}
