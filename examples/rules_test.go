package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"github.com/goipvs/goipvs/ipvsadm"
)

const nothing = "# nothing to change\n"

// rules lists the files in rules, and there are some.
func rules(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("rules/*.rules")
	if err != nil || len(files) == 0 {
		t.Fatal("no rules files:", err)
	}
	return files
}

// TestRules: every file is right, says each thing once, and is made so once.
func TestRules(t *testing.T) {
	for _, file := range rules(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			k := ipvstest.New(ipvstest.Options{})
			changes := strings.SplitAfter(apply(t, k, file), "\n")
			if got, want := len(changes)-2, lines(t, file); got != want { // the summary, and what follows it
				t.Errorf("%d rules made %d changes", want, got)
			}
			if got := apply(t, k, file); got != nothing {
				t.Errorf("applied again it changed\n%s", got)
			}
		})
	}
}

// TestKernelRules: a real kernel takes every file and has what the one in memory
// has then.
func TestKernelRules(t *testing.T) {
	lab.Need(t)
	for _, file := range rules(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			newNetns(t)
			c, err := ipvs.Dial(ipvs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			k := kept{c}
			apply(t, k, file)
			if got := apply(t, k, file); got != nothing {
				t.Errorf("applied again it changed\n%s", got)
			}
			memory := ipvstest.New(ipvstest.Options{})
			apply(t, memory, file)
			if diff := cmp.Diff(save(t, memory), save(t, k)); diff != "" {
				t.Errorf("table (-in memory +in the kernel):\n%s", diff)
			}
		})
	}
}

// TestREADME: whoever looks for an example finds it.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range rules(t) {
		if !strings.Contains(string(text), "]("+file+")") {
			t.Errorf("README.md does not mention %s", file)
		}
	}
}

// TestVariables: the README of the role explains each of its variables.
func TestVariables(t *testing.T) {
	spec, err := os.ReadFile("ansible/roles/goipvs/meta/argument_specs.yml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("ansible/README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^ +(\w+):(?: \{type|\n +(?:short_)?description|\n +type)`).FindAllStringSubmatch(string(spec), -1)
	if len(names) < 20 {
		t.Errorf("only %d variables: this test looks for the wrong thing", len(names))
	}
	for _, m := range names {
		if name := m[1]; name != "main" && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("README.md does not explain %s", name)
		}
	}
}

// lines counts the rules of a file.
func lines(t *testing.T, file string) (n int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "-") {
			n++
		}
	}
	return n
}

// apply is goipvs apply FILE; it returns what that prints.
func apply(t *testing.T, k ipvsadm.Kernel, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out, errs strings.Builder
	r := ipvsadm.Runner{
		Prog: "goipvs", Stdin: f, Stdout: &out, Stderr: &errs,
		Dial: func() (ipvsadm.Kernel, error) { return k, nil },
	}
	if status := r.Apply(ipvsadm.ApplyOptions{Source: file}); status != 0 || errs.Len() > 0 {
		t.Fatalf("apply: status %d\n%s", status, errs.String())
	}
	return out.String()
}

func save(t *testing.T, k ipvsadm.Kernel) string {
	t.Helper()
	var out strings.Builder
	if err := ipvsadm.Save(&out, k, ipvsadm.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// kept is a kernel that stays open when a command is done with it.
type kept struct{ ipvsadm.Kernel }

func (kept) Close() error { return nil }

// newNetns moves the test to a network namespace of its own, with lo up, without
// which IPVS refuses real servers. The thread ends with the test.
func newNetns(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal("new network namespace:", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}
