package verbs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const unit = "../../../contrib/systemd/goipvs-realserver@.service"

// TestUnit: the commands of the systemd unit are command lines of ours.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for line := range strings.Lines(string(b)) {
		_, command, ok := strings.Cut(strings.TrimSpace(line), "=/usr/local/sbin/goipvs ")
		if !ok {
			continue
		}
		commands++
		// With an address that is refused once everything else was read.
		command = strings.NewReplacer("%i", "127.0.0.1", "$OPTIONS", "--mode tun --tunnel gue:6080").Replace(command)
		var out, errw strings.Builder
		status := Run(append([]string{"goipvs"}, strings.Fields(command)...), "test", strings.NewReader(""), &out, &errw)
		if status != 2 || !strings.Contains(errw.String(), "127.0.0.1 is a loopback address") {
			t.Errorf("%s: status %d, %s", command, status, errw.String())
		}
	}
	if commands != 2 {
		t.Errorf("%d commands, want a start and a stop", commands)
	}
}

// TestUnitVerified: systemd understands every line. It is part of the machine
// or it is not; TestUnit is what must run everywhere.
func TestUnitVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd on this machine")
	}
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), filepath.Base(strings.Replace(unit, "@", "@192.0.2.10", 1)))
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(b), "/usr/local/sbin/goipvs", "/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", name).CombinedOutput()
	if err != nil || strings.Contains(string(out), "goipvs") { // it has remarks about other units, too
		t.Errorf("%v\n%s", err, out)
	}
}
