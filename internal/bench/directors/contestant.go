package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// contestant is one of the directors: how it is told what to do, and started.
type contestant struct {
	name   string
	config func(l load, more bool) string
	// command is the program in the foreground, of a file and a folder for its
	// own files; root is where the packages are unpacked.
	command func(b *inner, file string) *exec.Cmd
}

var contestants = []contestant{
	{"goipvsd", load.goipvs, func(b *inner, file string) *exec.Cmd { return exec.Command(b.goipvsd, "-c", file) }},
	{"before", load.goipvs, func(b *inner, file string) *exec.Cmd { return exec.Command(b.o.against, "-c", file) }},
	{"keepalived", load.keepalived, func(b *inner, file string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(b.root, "usr/sbin/keepalived"), "--dont-fork", "--log-console", "--check", "--use-file="+file,
			"--pid="+b.load.dir+"/pid", "--checkers_pid="+b.load.dir+"/checkers")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries(b.root))
		return cmd
	}},
	{"ldirectord", load.ldirectord, func(b *inner, file string) *exec.Cmd {
		cmd := exec.Command("perl", filepath.Join(b.root, "usr/sbin/ldirectord"), file, "start")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries(b.root), "PERLIO=perlio",
			"PERL5LIB="+strings.Join(globs(b.root, "usr/share/perl5", "usr/lib/*/perl5/*", "usr/lib/*/perl-base", "usr/share/perl/*"), ":"))
		return cmd
	}},
}

func libraries(root string) string {
	return strings.Join(globs(root, "usr/lib/*-linux-gnu", "lib/*-linux-gnu"), ":")
}

func globs(root string, patterns ...string) (out []string) {
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(root, p))
		out = append(out, found...)
	}
	return out
}

// placeIpvsadm puts ipvsadm where ldirectord looks for it. In the lab's kernel
// the folder is covered; the machine's own stays as it is.
func placeIpvsadm(root string) error {
	b, err := os.ReadFile(filepath.Join(root, "sbin/ipvsadm"))
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/usr/sbin", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("cover /usr/sbin: %w", err)
	}
	return os.WriteFile("/usr/sbin/ipvsadm", b, 0o755)
}
