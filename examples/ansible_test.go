package examples

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab"
)

// listed is the table that the example's variables ask for.
const listed = `-A -t 192.0.2.10:80 -s wlc
-a -t 192.0.2.10:80 -r 10.9.0.11:8080 -m -w 100
-a -t 192.0.2.10:80 -r 10.9.0.12:8080 -m -w 50 -x 200 -y 150
-A -u 192.0.2.53:53 -s rr -o
-a -u 192.0.2.53:53 -r 10.9.0.41:53 -g -w 1
-a -u 192.0.2.53:53 -r 10.9.0.42:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
`

// foreign is a service that the variables do not list.
const foreign = "-A -u 198.51.100.1:514 -s rr\n"

// Variables that take a server and a service out, and what is left.
const (
	fewer = `{"goipvs_prune": true, "goipvs_services": [
		{"vip": "192.0.2.10:80", "method": "nat", "servers": [
			{"address": "10.9.0.11:8080", "weight": 100}, {"address": "10.9.0.12:8080", "state": "absent"}]},
		{"vip": "192.0.2.53:53", "protocol": "udp", "state": "absent"}]}`
	left = "-A -t 192.0.2.10:80 -s wlc\n-a -t 192.0.2.10:80 -r 10.9.0.11:8080 -m -w 100\n"
	// drifted is what is left when somebody takes out the last server.
	drifted = "-A -t 192.0.2.10:80 -s wlc\n"
)

// everything is a service for each variable, and rules what goipvs makes of it.
const (
	everything = `{"goipvs_services": [
		{"fwmark": 7, "family": "ipv6", "persistent": 3600, "netmask": "64", "servers": [
			{"address": "fd09::11", "weight": 0}, {"address": "[fd09::12]:8080", "method": "nat"}]},
		{"fwmark": 7, "servers": [{"address": "10.9.0.11", "upper": 20, "lower": 10}]},
		{"vip": "[2001:db8:ffff::10]:443", "scheduler": "mh", "scheduler_flags": ["mh-fallback", "mh-port"], "method": "tunnel", "servers": [
			{"address": "fd09::11"}, {"address": "fd09::12", "tunnel": "gre", "tunnel_checksum": "none"},
			{"address": "10.9.0.13", "tunnel": "gue", "tunnel_port": 6080, "tunnel_checksum": "remcsum"}]},
		{"vip": "192.0.2.55:5060", "protocol": "udp", "engine": "sip", "persistent": 600},
		{"vip": "192.0.2.56:3868", "protocol": "sctp", "state": "present", "servers": [{"address": "10.9.0.14", "state": "present"}]}]}`
	everyRule = `-A -t [2001:db8:ffff::10]:443 -s mh -b mh-fallback,mh-port
-a -t [2001:db8:ffff::10]:443 -r 10.9.0.13:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t [2001:db8:ffff::10]:443 -r [fd09::11]:443 -i -w 1 --tun-type ipip
-a -t [2001:db8:ffff::10]:443 -r [fd09::12]:443 -i -w 1 --tun-type gre --tun-nocsum
-A -u 192.0.2.55:5060 -s wlc -p 600 --pe sip
-A --sctp-service 192.0.2.56:3868 -s wlc
-a --sctp-service 192.0.2.56:3868 -r 10.9.0.14:3868 -g -w 1
-A -f 7 -s wlc
-a -f 7 -r 10.9.0.11:0 -g -w 1 -x 20 -y 10
-A -f 7 -6 -s wlc -p 3600 -M 64
-a -f 7 -6 -r [fd09::11]:0 -g -w 0
-a -f 7 -6 -r [fd09::12]:8080 -m -w 1
`
)

// tables are what the directors balance: lb1 applies, lb2 ensures.
type tables struct{ LB1, LB2 string }

// story is a test in steps, for each run of Ansible starts from what the one
// before has made.
type story struct {
	*testing.T
	*directors
	*playbook
}

func TestAnsible(t *testing.T) {
	if lab.Kind() != "" {
		t.Skip("Ansible runs beside the lab, not in it")
	}
	d := startDirectors(t)
	s := &story{t, d, newPlaybook(t, "director.yml", d.hosts())}
	s.setUp()
	s.change()
	s.drift()
	s.mistakes()
}

// play runs the playbook and looks at what it says of the directors, at its
// text and at their tables.
func (s *story) play(name string, hosts map[string]string, want tables, text []string, args ...string) {
	s.Helper()
	begin := time.Now()
	o := s.run(s.T, args...)
	s.Logf("%s: %.1f s", name, time.Since(begin).Seconds())
	ok := true
	if diff := cmp.Diff(hosts, o.hosts); diff != "" {
		ok = false
		s.Errorf("%s: hosts (-want +got):\n%s", name, diff)
	}
	if diff := cmp.Diff(want, tables{s.table(s.T, "lb1"), s.table(s.T, "lb2")}); diff != "" {
		ok = false
		s.Errorf("%s: tables (-want +got):\n%s", name, diff)
	}
	for _, line := range text {
		if !strings.Contains(o.text, line) {
			ok = false
			s.Errorf("%s: nothing says %q", name, line)
		}
	}
	if !ok {
		s.Fatal(o.text)
	}
}

func only(host, what string) map[string]string { return map[string]string{host: what} }

func both(what string) map[string]string { return map[string]string{"lb1": what, "lb2": what} }

// hosts are the directors' variables: lb1 applies, lb2 ensures.
func (d *directors) hosts() map[string]map[string]any {
	hosts := map[string]map[string]any{}
	for host, way := range map[string]string{"lb1": "apply", "lb2": "ensure"} {
		hosts[host] = map[string]any{"goipvs_program": d.program(host), "goipvs_rules_file": d.rulesFile(host), "goipvs_way": way}
	}
	return hosts
}

// rules is what lb1's rules file has, without its comment.
func (s *story) rules() string {
	s.Helper()
	text, err := os.ReadFile(s.rulesFile("lb1"))
	if err != nil {
		s.Fatal(err)
	}
	comment, rules, _ := strings.Cut(string(text), "\n")
	if !strings.HasPrefix(comment, "# ") {
		s.Errorf("the rules begin with %q", comment)
	}
	return rules
}

// setUp sets up directors that have nothing yet.
func (s *story) setUp() {
	s.play("check of everything", both("changed"), tables{}, append(quoted(everyRule),
		"+-A -f 7 -6 -s wlc -p 3600 -M 64", // in lb1's file
		`"-a -f 7 -6 -r fd09::11 -g -w 0"`, // as lb2 is asked
	), "--check", "--diff", vars(everything))
	if exists(s.rulesFile("lb1")) {
		s.Error("check mode wrote the rules file")
	}
	s.play("first run", both("changed"), tables{listed, listed}, nil)
	s.play("second run", both("ok"), tables{listed, listed}, nil)
}

// quoted are the rules as Ansible prints a list.
func quoted(rules string) (lines []string) {
	for rule := range strings.Lines(rules) {
		lines = append(lines, `"`+strings.TrimSpace(rule)+`"`)
	}
	return lines
}

// change takes out a server and a service, and on lb1 all that is not listed.
func (s *story) change() {
	for _, host := range []string{"lb1", "lb2"} {
		s.goipvs(s.T, host, strings.Fields(foreign)...)
	}
	before := s.rules()
	const ofLB2 = `ok: [lb2] => {
    "goipvs_table.stdout_lines": [
        "-d -t 192.0.2.10:80 -r 10.9.0.12:8080",
        "-D -u 192.0.2.53:53"
    ]
}`
	s.play("check of a change", both("changed"), tables{listed + foreign, listed + foreign}, []string{
		`"-d -t 192.0.2.10:80 -r 10.9.0.12:8080"`, `"-D -u 192.0.2.53:53"`, `"-D -u 198.51.100.1:514"`,
		"-" + "-A -u 192.0.2.53:53 -s rr -o",
		ofLB2,
	}, "--check", "--diff", vars(fewer))
	if diff := cmp.Diff(before, s.rules()); diff != "" {
		s.Errorf("check mode changed the rules file:\n%s", diff)
	}
	s.play("change", both("changed"), tables{left, left + foreign}, []string{`"-D -u 198.51.100.1:514"`}, "--diff", vars(fewer))
	if diff := cmp.Diff(left, s.rules()); diff != "" {
		s.Errorf("rules file (-want +got):\n%s", diff)
	}
}

// drift is a table that is another than the last run left, found though no file
// has changed. On lb2 all is well, also what shall be absent.
func (s *story) drift() {
	s.goipvs(s.T, "lb1", "-d", "-t", "192.0.2.10:80", "-r", "10.9.0.11:8080")
	s.play("check of drift", map[string]string{"lb1": "changed", "lb2": "ok"}, tables{drifted, left + foreign}, nil, "--check", vars(fewer))
}

// mistakes change nothing and name what is wrong.
func (s *story) mistakes() {
	const (
		words = `{"goipvs_services": [{"vip": "192.0.2.10:80", "fwmark": 1, "schedular": "rr", "servers": [{"address": "10.9.0.11", "method": "natt", "weight": "much"}]}]}`
		// The first change would be right, the last is not.
		address = `{"goipvs_services": [{"vip": "192.0.2.10:80", "scheduler": "rr", "servers": [{"address": "10.9.0.300"}]}]}`
		absent  = `{"goipvs_services": [{"vip": "192.0.2.10:80", "state": "absent"}]}`
		illegal = "10.9.0.300: illegal real server address"
	)
	tests := []struct {
		name, host, vars string
		text             []string
	}{
		{"words", "lb1", words, []string{
			"got: natt", "schedular. Supported parameters include", "argument 'weight' is of type", "mutually exclusive: vip|fwmark"}},
		{"apply, address", "lb1", address, []string{illegal}},
		{"apply, absent service", "lb1", absent, []string{"apply removes services only with goipvs_prune: true"}},
		{"ensure, address", "lb2", address, []string{illegal}},
	}
	before := s.rules()
	for _, tt := range tests {
		s.play(tt.name, only(tt.host, "failed"), tables{drifted, left + foreign}, tt.text, "--limit", tt.host, vars(tt.vars))
	}
	if diff := cmp.Diff(before, s.rules()); diff != "" {
		s.Errorf("mistakes changed the rules file:\n%s", diff)
	}
}
