package main

import (
	"os"
	"strings"
	"testing"
)

// verb runs a verb of ldirectord's with a file, as its command line does.
func verb(config, name string) (status int, said string) {
	var o, e strings.Builder
	p := &program{args: []string{"goipvsd", "-c", config, name}, out: &o, errw: &e}
	status = p.run()
	return status, o.String() + e.String()
}

// TestVerbsWithoutFile: a file that is gone or empty does not tell where its
// daemon would be, so nobody says that it is stopped; one that tells does.
func TestVerbsWithoutFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir + "/missing", dir + "/empty", dir} {
		if path == dir+"/empty" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"status", "stop", "try-restart", "reload", "upgrade"} {
			status, said := verb(path, name)
			if status != badUsage || !strings.Contains(said, "would not be found") || !strings.Contains(said, "hint: ") {
				t.Errorf("%s with %s: status %d, %s", name, path, status, said)
			}
		}
	}
	path := dir + "/broken"
	if err := os.WriteFile(path, []byte("control = \""+dir+"/sock\"\nstate_dir = \""+dir+"\"\n[broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"status": notRunning, "stop": ok, "try-restart": ok, "reload": failed, "upgrade": notRunning} {
		if status, said := verb(path, name); status != want {
			t.Errorf("%s with a broken file and no daemon: status %d, want %d: %s", name, status, want, said)
		}
	}
}
