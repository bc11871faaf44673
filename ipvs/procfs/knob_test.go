package procfs

import (
	"strings"
	"testing"
)

func TestKnobNames(t *testing.T) {
	for _, name := range []string{"", "/", "..", "../../ip_forward", "a/b", "a.b", "a b", "A", "conntrack\n", "a\x00b", "\u00e4"} {
		_, getErr := GetKnob("", name)
		setErr := SetKnob("", name, "1")
		for _, err := range []error{getErr, setErr} {
			if err == nil || !strings.Contains(err.Error(), "not a knob's name") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestOpenOnlyIPVS(t *testing.T) {
	for _, file := range []string{"", "tcp", "../self/mem", "ip_vs_conn/../tcp"} {
		if f, err := Open("", file); err == nil {
			f.Close()
			t.Errorf("opened %q", file)
		}
	}
}
