package examples

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/boot"
)

// playbook runs one of ansible/ on directors.
type playbook struct {
	file      string
	command   []string // ansible-playbook, and the interpreter before it
	env       []string
	inventory string
}

// newPlaybook takes the ansible-playbook that is installed, or Debian's. hosts are
// the directors with their variables.
func newPlaybook(t *testing.T, file string, hosts map[string]map[string]any) *playbook {
	t.Helper()
	python, root := "/usr/bin/python3", "/"
	p := &playbook{file: file, env: environment(t)}
	if _, err := os.Stat("/usr/bin/ansible-playbook"); err != nil {
		if root, err = boot.Ansible(); err != nil {
			t.Fatal("this test needs ansible-playbook: ", err)
		}
		p.env = append(p.env, "PYTHONPATH="+filepath.Join(root, "usr/lib/python3/dist-packages"))
	}
	if own := filepath.Join(root, "usr/bin/python3"); own != python && exists(own) {
		python = own
		p.env = append(p.env, "PYTHONHOME="+filepath.Join(root, "usr"), "LD_LIBRARY_PATH="+libraries(t, root))
	}
	p.command = []string{python, filepath.Join(root, "usr/bin/ansible-playbook")}
	p.inventory = inventory(t, hosts, python)
	return p
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// environment is that of the test without what is said to another Ansible or
// Python. Ansible wants a locale with UTF-8.
func environment(t *testing.T) (env []string) {
	t.Helper()
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ANSIBLE_") && !strings.HasPrefix(kv, "PYTHON") && !strings.HasPrefix(kv, "LC_") {
			env = append(env, kv)
		}
	}
	home := t.TempDir()
	return append(env, "LC_ALL=C.UTF-8", "HOME="+home, "ANSIBLE_REMOTE_TEMP="+filepath.Join(home, "remote"), "ANSIBLE_NOCOLOR=1")
}

// libraries are the folders with shared libraries below a root.
func libraries(t *testing.T, root string) string {
	t.Helper()
	var dirs []string
	for _, pattern := range []string{"lib/*-linux-gnu*", "usr/lib/*-linux-gnu*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, found...)
	}
	return strings.Join(dirs, ":")
}

// inventory is a file with the hosts, which are all this one.
func inventory(t *testing.T, hosts map[string]map[string]any, python string) string {
	t.Helper()
	for _, vars := range hosts {
		vars["ansible_connection"], vars["ansible_become"], vars["ansible_python_interpreter"] = "local", false, python
	}
	name := filepath.Join(t.TempDir(), "inventory.json")
	b, err := json.Marshal(map[string]any{"directors": map[string]any{"hosts": hosts}})
	if err == nil {
		err = os.WriteFile(name, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// outcome is what an operator sees of a run: "changed", "ok" or "failed" for
// each host that was played, and the text.
type outcome struct {
	hosts map[string]string
	text  string
}

var recap = regexp.MustCompile(`(?m)^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s`)

// run plays the playbook with arguments of ansible-playbook.
func (p *playbook) run(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(p.command[0], append(p.command[1:], append([]string{"-i", p.inventory, p.file}, args...)...)...)
	cmd.Dir, cmd.Env = "ansible", p.env
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := outcome{map[string]string{}, string(text)}
	for _, m := range recap.FindAllStringSubmatch(o.text, -1) {
		o.hosts[m[1]] = "ok"
		if m[2] != "0" {
			o.hosts[m[1]] = "changed"
		}
		if m[3] != "0" || m[4] != "0" {
			o.hosts[m[1]] = "failed"
		}
	}
	if len(o.hosts) == 0 {
		t.Fatalf("ansible-playbook: %v\n%s", err, text)
	}
	return o
}

// vars is the argument that overrides variables.
func vars(json string) string { return "--extra-vars=" + json }
