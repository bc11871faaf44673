package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const journalFile = "state/fullnat.journal"

// saved are the rules that -S prints of what commands made.
func (c *cli) saved() string {
	c.Helper()
	_, out := c.run("", "goipvs -S -n")
	var mine strings.Builder
	for line := range strings.Lines(out) {
		if strings.Contains(line, "VIP:") {
			mine.WriteString(line)
		}
	}
	return mine.String()
}

// TestFullNATFileDamaged: whatever became of the file of what commands made,
// goipvsd starts, says what it could not read, keeps the file for who wants to
// look, and serves what is right.
func TestFullNATFileDamaged(t *testing.T) {
	const one, two, three = "-A -t VIP:8080 -s rr --fullnat\n-P -t VIP:8080 -z 127.0.0.9\n", "-a -t VIP:8080 -r 127.0.0.1:9 -b -w 3\n", "-A -t VIP:8081 -s wlc --fullnat\n"
	for _, tt := range []struct {
		name   string
		damage func(path, text string) error
		left   string
		told   bool
	}{
		{"none", func(string, string) error { return nil }, one + two + three, false},
		{"torn in its last record", func(path, text string) error { return os.WriteFile(path, []byte(text[:len(text)-4]), 0o600) }, one + two, false},
		{"a letter changed", func(path, text string) error {
			return os.WriteFile(path, []byte(strings.Replace(text, "-w 3", "-w 4", 1)), 0o600)
		}, one, true},
		{"emptied", func(path, _ string) error { return os.WriteFile(path, nil, 0o600) }, "", true},
		{"another kind of file", func(path, _ string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		}, "", true},
		{"rules that contradict each other", func(path, text string) error {
			lines := strings.SplitAfter(text, "\n")
			return os.WriteFile(path, []byte(text+lines[len(lines)-2]), 0o600)
		}, one + two + three, true},
		{"removed", func(path, _ string) error { return os.Remove(path) }, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCLI(t)
			for line := range strings.Lines(one + two + three) {
				c.does("goipvs "+strings.TrimSpace(line), "")
			}
			c.stop()
			b, err := os.ReadFile(c.path(journalFile))
			c.must(err)
			c.must(tt.damage(c.path(journalFile), string(b)))
			c.start()
			if got := c.saved(); got != tt.left {
				t.Errorf("after the start there is\n%s", got)
			}
			if told := strings.Contains(c.log.String(), "event=fullnat_lost"); told != tt.told {
				t.Errorf("told: %v", told)
			}
			aside, _ := filepath.Glob(c.path(journalFile) + ".corrupt-*")
			if want := tt.told && !strings.HasPrefix(tt.name, "rules"); (len(aside) == 1) != want {
				t.Errorf("set aside: %q", aside)
			}
			c.does("goipvs -A -t VIP:8082 --fullnat", "")
			c.stop()
			c.start()
			if got, want := c.saved(), tt.left+"-A -t VIP:8082 -s wlc --fullnat\n"; got != want {
				t.Errorf("after another start there is\n%s", got)
			}
		})
	}
}

// TestFullNATDiskFull: a change that cannot be written is made, and who made it
// is told; what was there before is not harmed, and all is written when it can
// be again.
func TestFullNATDiskFull(t *testing.T) {
	c := newCLI(t)
	c.does("goipvs -A -t VIP:8080 -s rr --fullnat", "")
	c.does("goipvs -P -t VIP:8080 -z 127.0.0.9", "")
	before, err := os.ReadFile(c.path(journalFile))
	c.must(err)
	var old unix.Rlimit
	c.must(unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	limit := func(bytes uint64) { c.must(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: old.Max})) }
	defer limit(old.Cur)
	for n, room := range []int{10, 0} { // the second finds the file to be written as a whole
		limit(uint64(len(before) + room - n*len(before)))
		_, out := c.run("", fmt.Sprintf("goipvs -A -t VIP:%d -s rr --fullnat", 8081+n))
		limit(old.Cur)
		if !strings.Contains(out, "warning: done, but it will not survive a restart of goipvsd: ") || !strings.Contains(out, "file too large") {
			t.Errorf("the command says %q", out)
		}
		now, err := os.ReadFile(c.path(journalFile))
		c.must(err)
		if string(now) != string(before) {
			t.Errorf("the file is now %q", now)
		}
	}
	const all = "-A -t VIP:8080 -s rr --fullnat\n-P -t VIP:8080 -z 127.0.0.9\n-A -t VIP:8081 -s rr --fullnat\n-A -t VIP:8082 -s rr --fullnat\n"
	if got := c.saved(); got != all {
		t.Errorf("there is\n%s", got)
	}
	if !strings.Contains(c.log.String(), "event=state_unsaved") {
		t.Error("nothing in the log")
	}
	c.does("goipvs -A -t VIP:8083 -s rr --fullnat", "") // there is room again
	c.stop()
	c.start()
	if got := c.saved(); got != all+"-A -t VIP:8083 -s rr --fullnat\n" {
		t.Errorf("after a restart there is\n%s", got)
	}
}

// TestStateFilesDamaged: a state file or a file of full NAT's clients that is
// corrupt, or cannot be read, is said, kept aside, and no reason not to start.
func TestStateFilesDamaged(t *testing.T) {
	for _, name := range []string{"state.json", "clients.json"} {
		for kind, damage := range map[string]func(path string) error{
			"garbage": func(path string) error { return os.WriteFile(path, []byte(`{"version":1,"sha`), 0o600) },
			"a FIFO": func(path string) error {
				_ = os.Remove(path)
				return unix.Mkfifo(path, 0o600)
			},
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				c := newCLI(t)
				c.does("goipvs -A -t VIP:8080 -s rr --fullnat", "")
				c.stop()
				path := filepath.Join(c.path("state"), name)
				c.must(damage(path))
				c.start()
				if !strings.Contains(c.log.String(), "event=state_lost") {
					t.Error("nothing in the log")
				}
				if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
					t.Errorf("set aside: %q", aside)
				}
				if got := c.saved(); got != "-A -t VIP:8080 -s rr --fullnat\n" {
					t.Errorf("there is\n%s", got)
				}
				c.has(0, "1")
			})
		}
	}
}
