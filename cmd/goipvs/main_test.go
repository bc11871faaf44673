package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
)

// asProgram is set where the test binary is to be goipvs itself.
const asProgram = "GOIPVS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if err := cripple(os.Getenv(asCripple)); err != nil {
			panic(err)
		}
		os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestKernelWithoutRights runs the program as a user who may nothing: usage
// errors and help as ever, all else refused with the status of ipvsadm.
func TestKernelWithoutRights(t *testing.T) {
	lab.Need(t)
	program := executable(t)
	for _, c := range []struct {
		args string
		exit int
	}{
		{"-h", 0}, {"-v", 0}, {"help forwarding", 0}, {"-A -t nonsense", 2}, {"-Q", 255},
		{"", 2}, {"-Ln", 2}, {"-Lcn", 2}, {"-L --timeout", 2}, {"-L --daemon", 2}, {"-Ln -t 192.0.2.1:80", 2},
		{"-S", 2}, {"-C", 2}, {"-Z", 2}, {"--set 1 2 3", 2}, {"--start-daemon master", 2}, {"--stop-daemon master", 2},
		{"-A -t 192.0.2.1:80", 2}, {"-A -t 192.0.2.1:80 --ensure", 2}, {"-D -t 192.0.2.1:80 --ensure", 2}, {"-R", 2},
	} {
		cmd := exec.Command(program, strings.Fields(c.args)...)
		var out, errs bytes.Buffer
		cmd.Env = append(os.Environ(), asProgram+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("-A -t 192.0.2.1:80\n-C\n"), &out, &errs
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		var status *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != c.exit || (got == 0) != (out.Len() > 0) || (got == 0) != (errs.Len() == 0) {
			t.Errorf("%s: exit %d, want %d; stdout %q, stderr %q", c.args, got, c.exit, out.String(), errs.String())
		}
		if usage := strings.Contains(c.args, "nonsense"); c.exit == 2 && !usage && !strings.Contains(errs.String(), "CAP_NET_ADMIN") {
			t.Errorf("%s: %q does not say what right is needed", c.args, errs.String())
		}
	}
}

// executable is a copy of this test binary where everybody can run it.
func executable(t *testing.T) string {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	dir, err := os.MkdirTemp("/tmp", "goipvs-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "goipvs")
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(to.Close(), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}
