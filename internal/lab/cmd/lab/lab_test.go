package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab"
)

// The lab as it is used, and the program that the tests run in it. Both are
// built once, static as make builds them.
var labPath, programPath string

func TestMain(m *testing.M) {
	if lab.Kind() != "" {
		fmt.Println("the tests of the lab do not run inside the lab")
		return
	}
	dir, err := os.MkdirTemp("", "goipvs-lab-test-")
	if err != nil {
		panic(err)
	}
	labPath, programPath = filepath.Join(dir, "lab"), filepath.Join(dir, "program")
	code := 1
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// setUp builds, and fetches the kernel now, so that nothing says so later.
func setUp() error {
	if err := errors.Join(build(labPath, "."), build(programPath, "./testdata/program")); err != nil {
		return err
	}
	if out, err := command(nil, "-prepare").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// A result is what the user of the lab sees.
type result struct {
	Status         int
	Stdout, Stderr string
}

// command prepares the lab command with the arguments of the lab itself, in the
// environment of the test with the given variables.
func command(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(labPath, args...)
	cmd.Env = append(os.Environ(), "LAB=uml", "LAB_MODULES=", "LAB_LOG=", "LAB_TIMEOUT=2m")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func runLab(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// program runs the test program in user-mode Linux.
func program(t *testing.T, args ...string) result {
	t.Helper()
	return runLab(t, command(nil, append([]string{programPath}, args...)...))
}

func TestResult(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want result
	}{
		{"exit status", []string{"exit", "7"}, result{Status: 7}},
		{"signal", []string{"signal", "9"}, result{Status: 137}},
		{
			"arguments",
			[]string{"args", "", " ", "a b", "line\nline", `"quoted"`, "it's", "$HOME", "\xff", "--"},
			result{Stdout: `["" " " "a b" "line\nline" "\"quoted\"" "it's" "$HOME" "\xff" "--"]` + "\n"},
		},
		{
			"streams",
			[]string{"streams"},
			result{Stdout: "to stdout\n\x03\x04\x11\x13\x1a\x7f\xff\t\r\n", Stderr: "to stderr\n"},
		},
		{"process left behind", []string{"leave"}, result{Stdout: "left\n"}},
		{"no stdin", []string{"cat"}, result{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, withoutHanging(program(t, tt.args...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// withoutHanging removes what the process that "leave" left may have had the
// time to say.
func withoutHanging(r result) result {
	r.Stdout = strings.Replace(r.Stdout, "hanging\n", "", 1)
	return r
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	const value = "a \"b\" 'c'\nd=\xfe $PATH"
	got := runLab(t, command([]string{"LAB_TEST=" + value}, programPath, "env", "LAB_TEST"))
	want := result{Stdout: fmt.Sprintf("%q\n", value)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a folder")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	facts := func(yes bool) string {
		return fmt.Sprintf("host lab\nuid 0\ndir %s\nlo 0x9\nipvs %v\ntemp /run/lab/tmp true\nlab uml\nautoload %v\n", dir, yes, yes)
	}
	for modules, want := range map[string]string{"": facts(true), "none": facts(false)} {
		cmd := command([]string{"LAB_MODULES=" + modules}, programPath, "show")
		cmd.Dir = dir
		if diff := cmp.Diff(result{Stdout: want}, runLab(t, cmd)); diff != "" {
			t.Errorf("LAB_MODULES=%q: %s", modules, diff)
		}
	}
}

func TestBigOutput(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	for i := range 10 << 16 {
		fmt.Fprintf(&want, "%015d\n", i)
	}
	got := program(t, "big", "10")
	if got.Status != 0 || got.Stderr != "" {
		t.Errorf("status %d, stderr %q", got.Status, got.Stderr)
	}
	if got.Stdout != want.String() {
		t.Errorf("10 MiB of output did not arrive intact: got %d bytes, want %d", len(got.Stdout), want.Len())
	}
}

// TestFilesLandOnHost covers go test -update, which writes golden files.
func TestFilesLandOnHost(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "golden")
	if r := program(t, "write", file, "written inside"); r.Status != 0 {
		t.Fatalf("%+v", r)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "written inside" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestGoTest covers go test -exec with coverage.
func TestGoTest(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "cover.out")
	cmd := exec.Command("go", "test", "-exec", labPath, "-count=1", "-run=TestLines", "-coverprofile="+profile, "../../job")
	cmd.Env = command(nil).Env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(profile)
	if err != nil || !bytes.Contains(got, []byte("internal/lab/job/line.go:")) {
		t.Errorf("coverage profile: %v\n%s", err, got)
	}
}
