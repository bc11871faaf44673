package oracle

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/boot"
)

// program is a program in a root on a stage.
type program struct {
	stage *stage
	root  string
	path  string
	uid   uint32
}

// answer is what a program did.
type answer struct {
	Exit           int
	Stdout, Stderr string
}

// etc are the files by which the recorded cases resolve names.
const etc = "../../testdata/ipvsadm/etc"

// real is Debian's ipvsadm.
func (s *stage) real(t *testing.T) *program {
	t.Helper()
	from, err := boot.Ipvsadm()
	must(t, err)
	p := &program{stage: s, root: s.root(t), path: "/sbin/ipvsadm"}
	for _, name := range []string{"ipvsadm", "ipvsadm-save", "ipvsadm-restore"} {
		put(t, filepath.Join(from, "sbin", name), p.root, "sbin/"+name, 0o755)
	}
	libs, err := filepath.Glob(filepath.Join(from, "*lib/*/lib*.so.*"))
	must(t, err)
	more, err := filepath.Glob(filepath.Join(from, "usr/lib/*/lib*.so.*"))
	must(t, err)
	for _, lib := range append(libs, more...) {
		put(t, lib, p.root, "lib/ipvsadm/"+filepath.Base(lib), 0o644)
	}
	p.names(t)
	return p
}

// ours is goipvs as make builds it, under ipvsadm's names.
func (s *stage) ours(t *testing.T) *program {
	t.Helper()
	p := &program{stage: s, root: s.root(t), path: "/sbin/ipvsadm"}
	put(t, "../../bin/goipvs", p.root, "sbin/goipvs", 0o755) // make bin/goipvs
	for _, name := range []string{"ipvsadm", "ipvsadm-save", "ipvsadm-restore"} {
		must(t, os.Symlink("goipvs", filepath.Join(p.root, "sbin", name)))
	}
	p.names(t)
	return p
}

func (p *program) names(t *testing.T) {
	t.Helper()
	for _, name := range []string{"hosts", "services", "nsswitch.conf"} {
		put(t, filepath.Join(etc, name), p.root, "etc/"+name, 0o644)
	}
}

// run runs the program in the network namespace of the lab.
func (p *program) run(t *testing.T, stdin string, args ...string) answer {
	t.Helper()
	return p.in(t, here, stdin, args...)
}

func here(f func() error) error { return f() }

func (p *program) command(args ...string) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: p.path, Args: append([]string{p.path}, args...), Dir: "/",
		Env:         []string{"PATH=/sbin:/usr/sbin:/bin:/usr/bin", "LC_ALL=C", "LD_LIBRARY_PATH=/lib/ipvsadm"},
		SysProcAttr: &syscall.SysProcAttr{Chroot: p.root},
	}
	if p.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.uid, Gid: p.uid}
	}
	return cmd
}

// in runs the program where do runs what it is given.
func (p *program) in(t *testing.T, do func(func() error) error, stdin string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := p.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	must(t, p.stage.do(func() error { return do(cmd.Start) }))
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return answer{128 + int(status.Signal()), out.String(), errs.String()}
	}
	return answer{status.ExitStatus(), out.String(), errs.String()}
}
