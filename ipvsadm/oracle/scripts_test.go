package oracle

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/boot"
)

// at is another program in the same root.
func (p *program) at(path string) *program {
	q := *p
	q.path = path
	return &q
}

// debian puts Debian's init script and wrapper scripts into the root.
func (p *program) debian(t *testing.T) *program {
	t.Helper()
	pkg, err := boot.Ipvsadm()
	must(t, err)
	lsb, err := boot.InitFunctions()
	must(t, err)
	for _, script := range []string{"etc/init.d/ipvsadm", "sbin/ipvsadm-save", "sbin/ipvsadm-restore"} {
		must(t, os.RemoveAll(filepath.Join(p.root, script))) // it may be a link
		put(t, find(t, pkg, script), p.root, script, 0o755)
	}
	put(t, find(t, pkg, "etc/default/ipvsadm"), p.root, "etc/default/ipvsadm", 0o644)
	put(t, find(t, lsb, "lib/lsb/init-functions"), p.root, "lib/lsb/init-functions", 0o644)
	return p
}

// find finds a file of a package: newer releases have everything below usr.
func find(t *testing.T, dir, name string) string {
	t.Helper()
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(dir, "usr", name)} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not in %s", name, dir)
	return ""
}

const (
	someRules = `-A -t 192.0.2.10:80 -s wlc -p 300
-a -t 192.0.2.10:80 -r 10.0.0.11:80 -g -w 1
-a -t 192.0.2.10:80 -r 10.0.0.12:80 -g -w 5
-A -t [2001:db8::10]:443 -s sh -b sh-port
-a -t [2001:db8::10]:443 -r [2001:db8:1::11]:8443 -m -w 1
`
	otherRules = `-A -u 192.0.2.10:53 -s rr -o
-a -u 192.0.2.10:53 -r 10.0.0.11:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
`
	bothDaemons = "AUTO=true\nDAEMON=both\nIFACE=dum0\nSYNCID=7\n"
)

// initCases are calls of the init script.
var initCases = []struct {
	name   string
	config string // /etc/default/ipvsadm; "" is the package's
	rules  string // /etc/ipvsadm.rules; "" is none
	table  string // what is there before
	calls  []string
	then   string // what is there afterwards
}{
	{name: "as installed", table: someRules, calls: []string{"start", "status", "stop", "restart", "reload"}, then: someRules},
	{name: "wrong word", calls: []string{"begin"}},
	{name: "save and load", rules: "# old\n" + otherRules, table: someRules, calls: []string{"save", "load", "rate"}, then: someRules},
	{name: "load", rules: "# by hand\n" + otherRules, table: someRules, calls: []string{"load", "status"}, then: otherRules},
	{name: "both daemons", config: bothDaemons, rules: someRules, table: otherRules,
		calls: []string{"start", "start", "reload", "restart", "stop", "stop"}},
	{name: "master", config: "DAEMON=master\nIFACE=dum0\n", table: someRules, calls: []string{"start", "stop"}, then: someRules},
	{name: "no such interface", config: "DAEMON=backup\nIFACE=none0\n", calls: []string{"start", "stop"}},
	{name: "wrong rules", rules: "-A -t 192.0.2.10:80 -s\n", table: someRules, calls: []string{"load"}},
}

// effect is what a script did.
type effect struct {
	Call           string
	Exit           int
	Stdout         string
	Spoke          bool   // on standard error, each program in its own words
	Table, Daemons string // as the real ipvsadm sees them
	File           string // /etc/ipvsadm.rules
}

// TestKernelInitScript: Debian's init script does with goipvs what it does with
// ipvsadm.
func TestKernelInitScript(t *testing.T) {
	k, s := dial(t), newStage(t)
	theirs, ours := s.real(t).debian(t), s.ours(t).debian(t)
	reader := theirs.reader(t)
	dummy(t, "dum0")
	config, err := os.ReadFile(filepath.Join(ours.root, "etc/default/ipvsadm"))
	must(t, err)
	for _, c := range initCases {
		t.Run(c.name, func(t *testing.T) {
			play := func(p *program) (effects []effect) {
				stopDaemons(t, k)
				k.restore(t, "-C\n"+c.table)
				write(t, p.root, "etc/default/ipvsadm", cmp.Or(c.config, string(config)), 0o644)
				must(t, os.RemoveAll(filepath.Join(p.root, "etc/ipvsadm.rules")))
				if c.rules != "" {
					write(t, p.root, "etc/ipvsadm.rules", c.rules, 0o644)
				}
				for _, call := range c.calls {
					effects = append(effects, p.service(t, reader, call))
				}
				return effects
			}
			want, got := play(theirs), play(ours)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("-ipvsadm +goipvs:\n%s", diff)
			}
			if diff := gocmp.Diff(c.then, got[len(got)-1].Table); diff != "" {
				t.Errorf("the table (-want +got):\n%s", diff)
			}
		})
	}
	stopDaemons(t, k)
}

// service calls the init script.
func (p *program) service(t *testing.T, reader *reader, call string) effect {
	t.Helper()
	a := p.at("/etc/init.d/ipvsadm").run(t, "", call)
	file, err := os.ReadFile(filepath.Join(p.root, "etc/ipvsadm.rules"))
	must(t, err)
	return effect{
		Call: call, Exit: a.Exit, Stdout: a.Stdout, Spoke: a.Stderr != "",
		Table: reader.save(t), Daemons: reader.ask(t, "-L --daemon\n"), File: string(file),
	}
}

// TestKernelScripts: ipvsadm-save and ipvsadm-restore, Debian's with ipvsadm,
// Debian's with goipvs, and goipvs under these names.
func TestKernelScripts(t *testing.T) {
	k, s := dial(t), newStage(t)
	programs := []*program{s.real(t).debian(t), s.ours(t).debian(t), s.ours(t)}
	reader := programs[0].reader(t)
	for _, c := range []struct {
		name, script, stdin string
		args                []string
		changes             bool // the table
	}{
		{name: "save", script: "save"},
		{name: "save numbers", script: "save", args: []string{"-n"}},
		{name: "save with an unknown option", script: "save", args: []string{"-x"}},
		{name: "save with words", script: "save", args: []string{"all", "-n", "of it"}},
		{name: "restore", script: "restore", stdin: otherRules, changes: true},
		{name: "restore with comments", script: "restore", stdin: "# Sunday\n" + otherRules + "#\n", changes: true},
		{name: "restore with words", script: "restore", args: []string{"--help"}, stdin: otherRules, changes: true},
		{name: "restore nothing", script: "restore", changes: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var effects []effect
			for _, p := range programs {
				k.restore(t, "-C\n"+someRules)
				a := p.at("/sbin/ipvsadm-"+c.script).run(t, c.stdin, c.args...)
				effects = append(effects, effect{Exit: a.Exit, Stdout: a.Stdout, Spoke: a.Stderr != "", Table: reader.save(t)})
			}
			for i, by := range []string{"Debian's script with goipvs", "goipvs"} {
				if diff := gocmp.Diff(effects[0], effects[i+1]); diff != "" {
					t.Errorf("%s (-ipvsadm +goipvs):\n%s", by, diff)
				}
			}
			if changed := effects[0].Table != someRules; changed != c.changes {
				t.Errorf("the table changed: %v, want %v", changed, c.changes)
			}
		})
	}
}
