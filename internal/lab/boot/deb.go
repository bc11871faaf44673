package boot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// unpack downloads Debian packages and unpacks them into dir. It changes
// nothing on the machine and needs no root: when the machine's own package
// lists do not do, it fetches lists of its own.
func unpack(dir string, packages ...string) error {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("this machine has no %s to fetch %v with", tool, packages)
		}
	}
	tmp, err := os.MkdirTemp(dir, ".deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := download(tmp, packages); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := tool(tmp, "dpkg-deb", "-x", deb, dir); err != nil {
			return err
		}
	}
	return nil
}

func download(dir string, packages []string) error {
	get := append([]string{"download"}, packages...)
	if tool(dir, "apt-get", get...) == nil {
		return nil
	}
	own := []string{
		"-o", "Dir::State::Lists=" + filepath.Join(dir, "lists"),
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
	}
	if err := os.MkdirAll(filepath.Join(dir, "lists", "partial"), 0o755); err != nil {
		return err
	}
	if err := tool(dir, "apt-get", append(own, "update")...); err != nil {
		return err
	}
	return tool(dir, "apt-get", append(own, get...)...)
}

// tool runs a command in dir and makes its last words the error.
func tool(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return errors.New(name + ": " + err.Error() + ": " + string(lines[len(lines)-1]))
}
