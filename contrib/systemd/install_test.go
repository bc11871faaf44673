package systemd

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What make install installs, below PREFIX.
const installed = `lib/systemd/system/goipvs-realserver@.service
lib/systemd/system/goipvsd.service
lib/sysusers.d/goipvs.conf
lib/tmpfiles.d/goipvs.conf
libexec/goipvs/goipvs-verbs
sbin/goipvs
sbin/goipvsd
sbin/ipvsadm -> goipvs
sbin/ipvsadm-restore -> goipvs
sbin/ipvsadm-save -> goipvs
share/bash-completion/completions/goipvs
share/bash-completion/completions/ipvsadm -> goipvs
share/bash-completion/completions/ipvsadm-restore -> goipvs
share/bash-completion/completions/ipvsadm-save -> goipvs
share/doc/goipvs/goipvs.grafana.json
share/doc/goipvs/goipvs.rules.yml
share/doc/goipvs/goipvs.toml
share/doc/goipvs/goipvsd-checks.conf
share/fish/vendor_completions.d/goipvs.fish
share/fish/vendor_completions.d/ipvsadm-restore.fish -> goipvs.fish
share/fish/vendor_completions.d/ipvsadm-save.fish -> goipvs.fish
share/fish/vendor_completions.d/ipvsadm.fish -> goipvs.fish
share/man/man5/goipvs.toml.5
share/man/man8/goipvs.8
share/man/man8/goipvsd.8
share/man/man8/ipvsadm-restore.8 -> goipvs.8
share/man/man8/ipvsadm-save.8 -> goipvs.8
share/man/man8/ipvsadm.8 -> goipvs.8
share/zsh/site-functions/_goipvs`

// TestInstall: what is installed is whole and works from where it is, and the
// units name what is there.
func TestInstall(t *testing.T) {
	tool, err := exec.LookPath("make")
	if err != nil {
		t.Skip("no make here")
	}
	const prefix = "/opt/lvs"
	tmp := t.TempDir()
	root := filepath.Join(tmp, "root")
	run(t, tool, "-C", "../..", "install", "DESTDIR="+root, "PREFIX="+prefix, "BIN="+filepath.Join(tmp, "bin"))
	if diff := cmp.Diff(installed, strings.Join(list(t, root+prefix), "\n")); diff != "" {
		t.Errorf("(-want +installed):\n%s", diff)
	}
	sbin := root + prefix + "/sbin/"

	// Verbs are another program's, which must be found.
	if out := run(t, sbin+"goipvs", "status", "--help"); !strings.Contains(out, "goipvs status") {
		t.Errorf("goipvs status --help:\n%s", out)
	}
	if out := run(t, sbin+"ipvsadm", "--help"); !strings.Contains(out, "Usage: ipvsadm COMMAND") {
		t.Errorf("ipvsadm --help:\n%.300s", out)
	}
	refused := exec.Command(sbin + "ipvsadm-restore")
	refused.Stdin = strings.NewReader("-A -t 192.0.2.1:80 -s\n")
	if out, err := refused.CombinedOutput(); refused.ProcessState == nil || refused.ProcessState.ExitCode() != 2 {
		t.Errorf("ipvsadm-restore of a bad rule: %v\n%s", err, out)
	}
	ours := filepath.Join(tmp, "goipvs.toml")
	if err := os.WriteFile(ours, []byte("[[virtual]]\naddress = \"192.0.2.1:80\"\n[[virtual.real]]\naddress = \"192.0.2.2:80\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, sbin+"goipvsd", "-t", "-c", ours); !strings.Contains(out, "is fine: 1 services, 1 real servers") {
		t.Errorf("goipvsd -t:\n%s", out)
	}

	units(t, root, prefix, tmp)
	pages(t, root+prefix+"/share/man")
}

// units are judged by systemd, where it is installed, with the programs taken
// from where they were installed to.
func units(t *testing.T, root, prefix, tmp string) {
	t.Helper()
	tool, _ := exec.LookPath("systemd-analyze")
	for unit, want := range map[string]string{
		"goipvsd.service":            "ExecStart=" + prefix + "/sbin/goipvsd -c /etc/goipvs/goipvs.toml",
		"goipvs-realserver@.service": prefix + "/sbin/goipvs realserver add",
	} {
		b, err := os.ReadFile(filepath.Join(root+prefix, "lib/systemd/system", unit))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !strings.Contains(text, want) {
			t.Errorf("%s does not start %s:\n%s", unit, want, text)
		}
		if tool == "" {
			continue
		}
		name := filepath.Join(tmp, strings.Replace(unit, "@", "@192.0.2.10", 1))
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, prefix, root+prefix)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tool, "verify", "--man=no", name).CombinedOutput()
		for line := range strings.Lines(string(out)) { // it has remarks about other units, and settings it is too old for
			if strings.Contains(line, "goipvs") && !strings.Contains(line, "RestartSteps") && !strings.Contains(line, "RestartMaxDelaySec") {
				t.Errorf("systemd-analyze verify: %v: %s", err, line)
			}
		}
	}
}

// pages are found and read by man, where it is installed.
func pages(t *testing.T, dir string) {
	t.Helper()
	tool, err := exec.LookPath("man")
	if err != nil {
		return
	}
	for page, want := range map[string]string{
		"goipvs": "goipvs", "goipvsd": "keep virtual services", "goipvs.toml": "goipvs.toml", "ipvsadm": "goipvs", "ipvsadm-save": "goipvs", "ipvsadm-restore": "goipvs",
	} {
		cmd := exec.Command(tool, "-M", dir, "--warnings", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANPAGER=cat", "MANWIDTH=100", "MANOPT=")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "warning:") {
			t.Errorf("man %s: %v\n%.1000s", page, err, out)
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// list names all files below dir, and where links lead.
func list(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if e.Type() == fs.ModeSymlink {
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += " -> " + to
		}
		out = append(out, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}
