package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// directors are two network namespaces in a lab, lb1 and lb2, that programs
// outside of the lab work on: testdata/director says how.
type directors struct{ dir string }

// startDirectors boots a lab for the rest of the test.
func startDirectors(t *testing.T) *directors {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	for out, pkg := range map[string]string{"goipvs": "../cmd/goipvs", "goipvs-verbs": "../cmd/goipvs-verbs", "lab": "../internal/lab/cmd/lab", "director": "./testdata/director"} {
		build(t, filepath.Join(bin, out), pkg)
	}
	d := &directors{filepath.Join(dir, "directors")}
	for _, host := range []string{"lb1", "lb2"} {
		if err := os.MkdirAll(filepath.Join(d.dir, host), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(bin, "director"), d.program(host)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	lab := exec.CommandContext(ctx, filepath.Join(bin, "lab"), filepath.Join(bin, "director"), filepath.Join(bin, "goipvs"), d.dir)
	lab.Env = append(os.Environ(), "LAB_TIMEOUT=0") // it ends with the test
	lab.Cancel = func() error { return lab.Process.Signal(os.Interrupt) }
	lab.WaitDelay = time.Minute
	var said bytes.Buffer
	lab.Stdout, lab.Stderr = &said, &said
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := lab.Wait(); lab.ProcessState.ExitCode() != 130 { // interrupted
			t.Errorf("lab: %v\n%s", err, said.String())
		}
	})
	return d
}

// build builds a program as make does: static, for the lab cannot run the race
// detector.
func build(t *testing.T, out, pkg string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs,goipvs_split", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
}

// program is the path of goipvs on a director.
func (d *directors) program(host string) string { return filepath.Join(d.dir, host, "goipvs") }

// rulesFile is where the role leaves a director's rules, in a folder that is not
// there at first.
func (d *directors) rulesFile(host string) string {
	return filepath.Join(d.dir, host, "etc", "director.rules")
}

// goipvs runs a command on a director.
func (d *directors) goipvs(t *testing.T, host string, args ...string) string {
	t.Helper()
	out, err := exec.Command(d.program(host), args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("%s: goipvs %s: %v", host, strings.Join(args, " "), err)
	}
	return string(out)
}

// table is what a director balances.
func (d *directors) table(t *testing.T, host string) string {
	t.Helper()
	return d.goipvs(t, host, "-S", "-n")
}
