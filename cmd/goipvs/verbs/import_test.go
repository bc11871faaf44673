package verbs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
)

func TestImport(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ld := file("ldirectord.cf", "checktype=1\nvirtual=192.0.2.10:80\n\treal=192.0.2.21:80 gate\n\tchecktype=connect\n")
	all := file("all.cf", "virtual=192.0.2.10:80\n\treal=192.0.2.21:80 gate\n\tchecktype=connect\n")
	file("more.conf", "virtual_server 192.0.2.11 80 {\n protocol TCP\n@b lb_algo rr\n real_server 192.0.2.21 80 {\n }\n}\n")
	ka := file("keepalived.conf", "include mor*.conf\n")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	name := untilDot(host)
	file("here.conf", "virtual_server 192.0.2.11 80 {\n protocol TCP\n@"+name+" lb_algo rr\n@^"+name+" lb_algo wrr\n real_server 192.0.2.21 80 {\n }\n}\n")
	const made = `on_stop = "flush"
hold_on_mass_failure = 1.0
quiescent = false

[[virtual]]
address = "192.0.2.10:80"
scheduler = "wrr"
forward = "dr"

  [virtual.check]
  type = "connect"

  [[virtual.real]]
  address = "192.0.2.21:80"
`
	for _, c := range []struct {
		args   string
		in     string
		status int
		out    string // "": none, "...": not compared
		errs   string
	}{
		{"ldirectord ALL", "", 0, "# Made of ALL by goipvs import ldirectord.\n\n" + made, ""},
		{"ldirectord LD", "", 3, "# Made of LD by goipvs import ldirectord.\n\n" + made,
			"LD:1: checktype outside of a virtual section\ngoipvs: import ldirectord: 1 line of LD is not carried over as it is\n"},
		{"ldirectord -", "virtual=192.0.2.10:80\n\treal=192.0.2.21:80 gate\n\tchecktype=connect\n", 0, "# Made of - by goipvs import ldirectord.\n\n" + made, ""},
		{"keepalived KA", "", 3, "...",
			"DIR/more.conf:3: lb_algo: the line is for b only: left out (--config-id)\ngoipvs: import keepalived: 1 line of KA is not carried over as it is\n"},
		{"--config-id b keepalived KA", "", 0, "...", ""},
		{"keepalived DIR/here.conf", "", 3, "...", // for this host, as keepalived does without --config-id
			"DIR/here.conf:4: lb_algo: the line is for others than " + name + ": left out (--config-id)\ngoipvs: import keepalived: 1 line of DIR/here.conf is not carried over as it is\n"},
		{"--config-id b keepalived DIR/here.conf", "", 3, "...",
			"DIR/here.conf:3: lb_algo: the line is for " + name + " only: left out (--config-id)\ngoipvs: import keepalived: 1 line of DIR/here.conf is not carried over as it is\n"},
		{"--config-id b ldirectord LD", "", 2, "", "goipvs: usage: import: --config-id is for keepalived\n"},
		{"haproxy LD", "", 2, "", "goipvs: usage: import: unknown program \"haproxy\" (ldirectord or keepalived)\n"},
		{"ldirectord", "", 2, "", "goipvs: usage: goipvs import takes ldirectord or keepalived and a FILE (- is standard input)\n"},
		{"ldirectord DIR/none", "", 2, "", "goipvs: import ldirectord: DIR/none: open: no such file or directory\n"},
		{"keepalived -", "\xff\xfev\x00", 2, "", "goipvs: import keepalived: -: the file is UTF-16: save it as UTF-8\n"},
		{"ldirectord DIR", "", 2, "", "goipvs: import ldirectord: DIR: not a regular file: a directory\n"},
		{"--nonsense", "", 2, "", "goipvs: usage: goipvs import has no option --nonsense (try \"goipvs help import\")\n"},
	} {
		full := strings.NewReplacer("LD", ld, "KA", ka, "ALL", all, "DIR", dir)
		short := strings.NewReplacer(ld, "LD", ka, "KA", all, "ALL", dir, "DIR")
		var out, errs strings.Builder
		status := Run(append([]string{"goipvs", "import"}, strings.Fields(full.Replace(c.args))...), "", strings.NewReader(c.in), &out, &errs)
		if status != c.status {
			t.Errorf("%s: status %d, want %d", c.args, status, c.status)
		}
		if diff := cmp.Diff(c.errs, short.Replace(errs.String())); diff != "" {
			t.Errorf("%s: standard error (-want +got):\n%s", c.args, diff)
		}
		if diff := cmp.Diff(c.out, short.Replace(out.String())); diff != "" && c.out != "..." {
			t.Errorf("%s: standard output (-want +got):\n%s", c.args, diff)
		}
		if _, err := config.Parse("made.toml", []byte(out.String()), config.Options{}); c.status != 2 && err != nil {
			t.Errorf("%s: what was made does not load: %v", c.args, err)
		}
	}
}

func TestImportJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.cf")
	if err := os.WriteFile(path, []byte("virtual=192.0.2.10:80\n\treal=192.0.2.21:80 gate\n<non&sense>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if status := Run([]string{"goipvs", "import", "--json", "ldirectord", path}, "", nil, &out, &errs); status != 3 || errs.Len() > 0 {
		t.Errorf("status %d, standard error %q", status, errs.String())
	}
	var doc struct {
		Program, File, TOML string
		Services            int
		Lost                []struct {
			File, Text string
			Line       int
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Program != "ldirectord" || doc.File != path || doc.Services != 1 || len(doc.Lost) != 1 || doc.Lost[0].Line != 3 || doc.Lost[0].Text != "unknown line: <non&sense>" {
		t.Errorf("%+v", doc)
	}
	if !strings.Contains(out.String(), "<non&sense>") { // as a person can read it, and grep
		t.Error(out.String())
	}
	if _, err := config.Parse("made.toml", []byte(doc.TOML), config.Options{}); err != nil {
		t.Error(err)
	}
}

// TestUntilDot: keepalived's config-id is the node's name up to the first dot.
func TestUntilDot(t *testing.T) {
	for name, want := range map[string]string{"lb1": "lb1", "lb1.example.com": "lb1", "": ""} {
		if got := untilDot(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
