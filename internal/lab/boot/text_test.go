package boot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/job"
)

func TestTailKeepsTheEnd(t *testing.T) {
	var log tail
	for i := range 100_000 {
		fmt.Fprintf(&log, "line %d\r\n", i)
	}
	lines := strings.Split(log.last(), "\n")
	if len(lines) != 1+tailLines || lines[0] != "; the kernel's last messages:" || lines[tailLines] != "line 99999" {
		t.Errorf("%d lines, first %q, last %q", len(lines), lines[0], lines[len(lines)-1])
	}
	if len(log.buf) > 2*tailBytes {
		t.Errorf("keeps %d bytes", len(log.buf))
	}
	fmt.Fprintf(&log, "%s\r\n", job.Booted)
	if got := log.last(); got != "; the kernel said nothing" {
		t.Errorf("got %q", got)
	}
}

// TestAptOutput is about what apt prints on Debian 12.
func TestAptOutput(t *testing.T) {
	tests := []struct {
		name, pattern, text string
		want                []string
	}{
		{
			"packages to install", installLine,
			"NOTE: This is only a simulation!\nInst seabios (1.16.2-1 Debian:12 [all])\nInst qemu-system-x86 (1:7.2)\nConf seabios (1.16)\n",
			[]string{"seabios", "qemu-system-x86"},
		},
		{"kernel alone", imageDepends, "Package: linux-image-amd64\nDepends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)\n", []string{"linux-image-6.1.0-56-amd64"}},
		{"kernel after others", imageDepends, "Depends: linux-base, linux-image-6.8.0-1-generic, x\nDescription: linux-image-y\n", []string{"linux-image-6.8.0-1-generic"}},
		{"no kernel", imageDepends, "Depends: linux-base\n", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, submatches(tt.pattern, tt.text)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
