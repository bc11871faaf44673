package verbs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUsage(t *testing.T) {
	tests := []struct {
		args   string
		status int
		errw   string
	}{
		{"goipvs lits", 2, `goipvs: usage: unknown command "lits" (try "goipvs help")`},
		{"goipvs apply", 2, "goipvs: usage: goipvs apply takes one FILE (- is standard input)"},
		{"goipvs diff a b", 2, "goipvs: usage: goipvs diff takes one FILE (- is standard input)"},
		{"goipvs apply --purge -", 2, "goipvs: usage: goipvs apply has no option --purge (try \"goipvs help apply\")"},
		{"goipvs status -w", 2, "goipvs: usage: goipvs status has no option -w (try \"goipvs help status\")"},
		{"goipvs status --watch=5", 2, "goipvs: usage: goipvs status: --watch: bad value \"5\" (try \"goipvs help status\")"},
		{"goipvs top --lines many", 2, "goipvs: usage: goipvs top: --lines: bad value \"many\" (try \"goipvs help top\")"},
		{"goipvs drain 10.0.0.1 --reason", 2, "goipvs: usage: goipvs drain: --reason takes a value (try \"goipvs help drain\")"},
		{"goipvs apply no/such/file", 2, "goipvs: open no/such/file: no such file or directory"},
		{"goipvs doctor now", 2, `goipvs: usage: goipvs doctor takes no argument "now" (a service is given by --service)`},
		{"goipvs doctor --service 192.0.2.10", 2, `goipvs: usage: --service: "192.0.2.10" is no service: VIP:PORT, tcp:VIP:PORT, udp:VIP:PORT, sctp:VIP:PORT, fwmark:MARK or fwmark6:MARK; an IPv6 address in brackets`},
		{"goipvs doctor --method magic", 2, `goipvs: usage: --method: "magic" is not one of nat, dr, tun, gre, gue:PORT`},
		{"goipvs doctor --method gue:0", 2, `goipvs: usage: --method: "0" is no port`},
		{"goipvs doctor --director here", 2, `goipvs: usage: --director: "here" is no address`},
		{"goipvs help", 0, ""},
		{"goipvs apply --help", 0, ""},
		{"goipvs apply -h web.rules", 0, ""},
		{"goipvs apply /no/such.rules --prune", 2, "goipvs: open /no/such.rules: no such file or directory"},
		{"goipvs help --help", 0, ""},
		{"goipvs help apply diff", 2, "goipvs: usage: goipvs help takes one TOPIC or VERB"},
		{"goipvs help lits", 2, `goipvs: usage: no help on "lits" (try "goipvs help")`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var out, errw strings.Builder
			status := Run(strings.Fields(tt.args), "test", strings.NewReader(""), &out, &errw)
			if status != tt.status || strings.TrimSpace(errw.String()) != tt.errw {
				t.Errorf("status %d, stderr %q; want %d, %q", status, errw.String(), tt.status, tt.errw)
			}
			if status == 0 && !strings.Contains(out.String(), "apply") {
				t.Errorf("no help on standard output: %q", out.String())
			}
		})
	}
}

func TestBadRulesChangeNothing(t *testing.T) {
	var out, errw strings.Builder
	rules := "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1 -w many\n"
	status := Run([]string{"goipvs", "apply", "-"}, "test", strings.NewReader(rules), &out, &errw)
	if status != 2 || !strings.Contains(errw.String(), "stdin:2: many: ") || out.Len() != 0 {
		t.Errorf("status %d, stdout %q, stderr %q", status, out.String(), errw.String())
	}
}

// fullDisk takes so many bytes.
type fullDisk struct {
	room  int
	shown int
	hear  func(shown int) // how often something was printed; nil: nobody does
}

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.hear != nil {
		d.shown++
		d.hear(d.shown)
	}
	n := min(len(b), d.room)
	if d.room -= n; n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// TestFullDisk: what is not printed as a whole is not done.
func TestFullDisk(t *testing.T) {
	ha := filepath.Join(t.TempDir(), "ha.cf")
	if err := os.WriteFile(ha, []byte("virtual=192.0.2.10:80\n\treal=192.0.2.21:80 gate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"help status", "status --help", "import ldirectord " + ha} {
		var errs strings.Builder
		status := Run(append([]string{"goipvs"}, strings.Fields(words)...), "test", strings.NewReader(""), &fullDisk{room: 40}, &errs)
		if status != failed || !strings.Contains(errs.String(), "no space left") || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("goipvs %s: status %d, %q", words, status, errs.String())
		}
	}
}
