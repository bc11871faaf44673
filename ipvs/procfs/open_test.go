package procfs

import "testing"

func TestOpenOnlyIPVS(t *testing.T) {
	for _, file := range []string{"", "tcp", "../self/mem", "ip_vs_conn/../tcp"} {
		if f, err := Open("", file); err == nil {
			f.Close()
			t.Errorf("opened %q", file)
		}
	}
}
