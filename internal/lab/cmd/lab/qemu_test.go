package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// needQEMU skips the tests of the emulated machine unless LAB_TEST_QEMU=1:
// they take a minute, and a download the first time.
func needQEMU(t *testing.T) []string {
	t.Helper()
	if os.Getenv("LAB_TEST_QEMU") != "1" {
		t.Skip("set LAB_TEST_QEMU=1 to test QEMU")
	}
	if out, err := command([]string{"LAB=qemu"}, "-prepare").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return []string{"LAB=qemu"}
}

func TestQEMU(t *testing.T) {
	env := needQEMU(t)
	dir := t.TempDir()
	show := fmt.Sprintf("host lab\nuid 0\ndir %s\nlo 0x9\nipvs true\ntemp /run/lab/tmp true\nlab qemu\nautoload true\n", dir)
	tests := []struct {
		name string
		args []string
		want result
	}{
		{"machine", []string{"show"}, result{Stdout: show}},
		{"streams", []string{"streams"}, result{Stdout: "to stdout\n\x03\x04\x11\x13\x1a\x7f\xff\t\r\n", Stderr: "to stderr\n"}},
		{"signal", []string{"signal", "9"}, result{Status: 137}},
		{"write", []string{"write", "golden", "written inside"}, result{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := command(env, append([]string{programPath}, tt.args...)...)
			cmd.Dir = dir
			if diff := cmp.Diff(tt.want, runLab(t, cmd)); diff != "" {
				t.Error(diff)
			}
		})
	}
	got, err := os.ReadFile(filepath.Join(dir, "golden"))
	if err != nil || string(got) != "written inside" {
		t.Errorf("golden: %q, %v", got, err)
	}
}

func TestQEMUBigOutput(t *testing.T) {
	got := runLab(t, command(needQEMU(t), programPath, "big", "10"))
	if got.Status != 0 || len(got.Stdout) != 10<<20 || !strings.HasSuffix(got.Stdout, fmt.Sprintf("%015d\n", 10<<16-1)) {
		t.Errorf("status %d, %d bytes, stderr %q", got.Status, len(got.Stdout), got.Stderr)
	}
}

func TestQEMUPanic(t *testing.T) {
	got := runLab(t, command(needQEMU(t), programPath, "panic"))
	expect(t, got, 125, "", `(?s)^lab: the kernel died after .* while the program ran .*sysrq: Trigger a crash.*Kernel panic`)
}

func TestQEMUTimeLimit(t *testing.T) {
	got := runLab(t, command(append(needQEMU(t), "LAB_TIMEOUT=10s"), programPath, "hang"))
	expect(t, got, 124, "hanging\n", `(?s)SIGQUIT: quit.*lab: time limit of 10s reached while the program ran`)
	got = runLab(t, command(append(needQEMU(t), "LAB_TIMEOUT=10s"), programPath, "deaf"))
	expect(t, got, 124, "deaf\n", `(?s)^lab: time limit of 10s reached while the program ran; .*NMI: Not continuing.*Call Trace`)
}
