package boot

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// unpack downloads Debian packages and unpacks them into dir.
func unpack(dir string, packages ...string) error {
	a, err := newApt(dir)
	if err != nil {
		return err
	}
	defer a.close()
	return a.unpack(dir, packages)
}

// What apt prints: a package to install, and the kernel that a package like
// linux-image-amd64 stands for.
const (
	installLine  = `(?m)^Inst (\S+)`
	imageDepends = `(?m)^Depends:.*?(linux-image-[^\s,]+)`
)

// unpackWithNeeds also unpacks what the package needs and the machine lacks.
func unpackWithNeeds(dir, name string) error {
	a, err := newApt(dir)
	if err != nil {
		return err
	}
	defer a.close()
	plan, err := a.ask("apt-get", "install", "--simulate", "--no-install-recommends", name)
	if err != nil {
		return err
	}
	return a.unpack(dir, submatches(installLine, plan))
}

// apt gets packages without changing anything on the machine, and without
// root: when the machine's own package lists do not do, it fetches its own.
type apt struct {
	dir     string   // temporary
	options []string // to use our own lists
}

func newApt(in string) (*apt, error) {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("this machine has no %s to fetch it with", tool)
		}
	}
	dir, err := os.MkdirTemp(in, ".apt-")
	return &apt{dir: dir}, err
}

func (a *apt) close() { os.RemoveAll(a.dir) }

// ask runs a tool of apt, a second time with fresh lists if it must.
func (a *apt) ask(tool string, args ...string) (string, error) {
	out, err := a.run(tool, args...)
	if err == nil || a.options != nil {
		return out, err
	}
	lists := filepath.Join(a.dir, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return "", err
	}
	a.options = []string{"-o", "Dir::State::Lists=" + lists, "-o", "Dir::Cache=" + a.dir}
	if _, err := a.run("apt-get", "update"); err != nil {
		return "", err
	}
	return a.run(tool, args...)
}

func (a *apt) unpack(dir string, packages []string) error {
	if _, err := a.ask("apt-get", append([]string{"download"}, packages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := a.run("dpkg-deb", "-x", deb, dir); err != nil {
			return err
		}
	}
	return nil
}

// run runs a tool in the temporary folder. Its last words are the error.
func (a *apt) run(name string, args ...string) (string, error) {
	if strings.HasPrefix(name, "apt") {
		args = append(a.options[:len(a.options):len(a.options)], args...)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return "", fmt.Errorf("%s %s: %w: %s", name, args[len(args)-1], err, lines[len(lines)-1])
	}
	return string(out), nil
}

// submatches lists what the group of the pattern matches in s.
func submatches(pattern, s string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(s, -1) {
		found = append(found, m[1])
	}
	return found
}
