package ipvsadm

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
)

// fewNames knows what the tests ask for.
type fewNames struct{}

func (fewNames) Host(name string, f ipvs.Family) (netip.Addr, error) {
	for _, n := range []struct {
		name string
		addr string
	}{{"vip", "10.0.0.1"}, {"vip6", "2001:db8::80"}, {"both", "10.0.0.9"}, {"both", "2001:db8::9"}, {"mask24", "255.255.255.0"}} {
		if a := netip.MustParseAddr(n.addr); n.name == name && a.Is4() == (f == ipvs.IPv4) {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("no such host")
}

func (fewNames) Port(service string, p ipvs.Protocol) (uint16, error) {
	if service == "http" && p == ipvs.TCP {
		return 80, nil
	}
	return 0, errors.New("no such port")
}

// words splits a command line for a test; two quotes are an empty word, and "_"
// stands for a blank within a word.
func words(line string) []string {
	w := strings.Fields(line)
	for i := range w {
		w[i] = strings.ReplaceAll(w[i], "_", " ")
		if w[i] == "''" {
			w[i] = ""
		}
	}
	return w
}

// TestParseRules shows what a command line means by the rule that says the same
// with nothing left out.
func TestParseRules(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"-A -t 10.0.0.1:80", "-A -t 10.0.0.1:80 -s wlc"},
		{"-A -t 10.0.0.1:080", "-A -t 10.0.0.1:80 -s wlc"},
		{"-At 10.0.0.1:80 -srr -p=50", "-A -t 10.0.0.1:80 -s rr -p 50"},
		{"-At=10.0.0.1:80 -p90", "-A -t 10.0.0.1:80 -s wlc -p 90"},
		{"--add-service --udp-service=10.0.0.1:53 --ops --scheduler=", "-A -u 10.0.0.1:53 -s wlc -o"},
		{"-A -p -t 10.0.0.1", "-A -t 10.0.0.1:0 -s wlc -p 360"},
		{"-A -t 10.0.0.1:0 -p 2678400", "-A -t 10.0.0.1:0 -s wlc -p 2678400"},
		{"-A -t 2001:db8::80:80 -p", "-A -t [2001:db8::80:80]:0 -s wlc -p 360"},
		{"-A -t [2001:db8::80]:http", "-A -t [2001:db8::80]:80 -s wlc"},
		{"-A -t [::ffff:10.0.0.1]:80", "-A -t [::ffff:10.0.0.1]:80 -s wlc"},
		{"-A -t [10.0.0.1]:80", "-A -t 10.0.0.1:80 -s wlc"},
		{"-A -t vip:http", "-A -t 10.0.0.1:80 -s wlc"},
		{"-A -t [vip]:http", "-A -t 10.0.0.1:80 -s wlc"},
		{"-A -t [vip6]:http", "-A -t [2001:db8::80]:80 -s wlc"},
		{"-A -t [both]:80", "-A -t [2001:db8::9]:80 -s wlc"},
		{"-A -t both:80", "-A -t 10.0.0.9:80 -s wlc"},
		{"-A --sctp-service 10.0.0.1:3868", "-A --sctp-service 10.0.0.1:3868 -s wlc"},
		{"-A -f 4294967295", "-A -f 4294967295 -s wlc"},
		{"-A -f 7 -6 -6", "-A -f 7 -6 -s wlc"},
		{"-A -f 7 -o", "-A -f 7 -s wlc -o"},
		{"-A -t vip:80 -p 9 -M 24", "-A -t 10.0.0.1:80 -s wlc -p 9 -M 255.255.255.0"},
		{"-A -t vip:80 -p 9 -M 0", "-A -t 10.0.0.1:80 -s wlc -p 9 -M 0.0.0.0"},
		{"-A -t vip:80 -p 9 -M 255.0.255.0", "-A -t 10.0.0.1:80 -s wlc -p 9 -M 255.0.255.0"},
		{"-A -t vip:80 -p 9 -M mask24", "-A -t 10.0.0.1:80 -s wlc -p 9 -M 255.255.255.0"},
		{"-A -M 64 -p 9 -t [vip6]:80", "-A -t [2001:db8::80]:80 -s wlc -p 9 -M 64"},
		{"-A -M 56 -p 9 -f 3 -6", "-A -f 3 -6 -s wlc -p 9 -M 56"},
		{"-A -t vip:80 -b mh-port,flag-3, -s mh", "-A -t 10.0.0.1:80 -s mh -b mh-port,flag-3"},
		{"-A -t vip:80 -s rr -b flag-1,flag-2", "-A -t 10.0.0.1:80 -s rr -b flag-1,flag-2"},
		{"-A -t vip:80 -b ''", "-A -t 10.0.0.1:80 -s wlc"},
		{"-A -u vip:80 --pe sip -p 60", "-A -u 10.0.0.1:80 -s wlc -p 60 --pe sip"},
		{"-E -t vip:80", "-E -t 10.0.0.1:80 -s wlc"},
		{"-D -t vip", "-D -t 10.0.0.1:0"},
		{"--delete-service --fwmark-service 9", "-D -f 9"},

		{"-a -t vip:80 -r 10.1.0.1", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 1"},
		{"-a -t vip:80 -r 10.1.0.1:8080", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 1"},
		{"-a -t vip:80 -r 10.1.0.1:8080 -i", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -i -w 1 --tun-type ipip"},
		{"-a -t vip:80 -r 10.1.0.1:8080 -m", "-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1"},
		{"-a -t vip:80 -r 10.1.0.1:0 -m", "-a -t 10.0.0.1:80 -r 10.1.0.1:0 -m -w 1"},
		{"-a -r 10.1.0.1 -m -t vip:80", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1"},
		{"-a -t vip:80 -r vip:http -m", "-a -t 10.0.0.1:80 -r 10.0.0.1:80 -m -w 1"},
		{"-a -f 1 -r vip:http -m", "-a -f 1 -r 10.0.0.1:80 -m -w 1"},
		{"-a -f 1 -r 10.1.0.1:8080 -g", "-a -f 1 -r 10.1.0.1:8080 -g -w 1"},
		{"-a -f 1 -r 10.1.0.1", "-a -f 1 -r 10.1.0.1:0 -g -w 1"},
		{"-a -t vip:80 -r 10.1.0.1 -w 0 -x 2147483647 -y 5", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 0 -x 2147483647 -y 5"},
		{"-a -t vip:80 -r 2001:db8::1 -i", "-a -t 10.0.0.1:80 -r [2001:db8::1]:80 -i -w 1 --tun-type ipip"},
		{"-a -t vip:80 -r 10.1.0.1 -i --tun-type gue --tun-port 6080", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum"},
		{"-a -t vip:80 -r 10.1.0.1 --tun-remcsum --tun-type gue --tun-port 1 -i", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -i -w 1 --tun-type gue --tun-port 1 --tun-remcsum"},
		{"-e -t vip:80 -r 10.1.0.1 -i --tun-type gre --tun-csum", "-e -t 10.0.0.1:80 -r 10.1.0.1:80 -i -w 1 --tun-type gre --tun-csum"},
		{"-d -t vip:80 -r 10.1.0.1", "-d -t 10.0.0.1:80 -r 10.1.0.1:80"},
		{"-d -t vip:80 -r 10.1.0.1:8080", "-d -t 10.0.0.1:80 -r 10.1.0.1:8080"},
		{"-d -f 1 -r 10.1.0.1", "-d -f 1 -r 10.1.0.1:0"},
		{"-A -t vip:80 --", "-A -t 10.0.0.1:80 -s wlc"},
		{"-e -t vip:80 -r 10.1.0.1 -i --tun-type gre --tun-nocsum", "-e -t 10.0.0.1:80 -r 10.1.0.1:80 -i -w 1 --tun-type gre --tun-nocsum"},
		{"-P -t vip:80 -z 10.9.0.1", "-P -t 10.0.0.1:80 -z 10.9.0.1"},
		{"-Q -f 3 -6 -z 2001:db8::9", "-Q -f 3 -6 -z 2001:db8::9"},
	} {
		cmd, err := Parse(words(c.line), fewNames{})
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got := string(AppendChange(nil, cmd.Change)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

// TestParseOrder: the order of options has no meaning, but for -6, which
// belongs to the -f before it.
func TestParseOrder(t *testing.T) {
	for _, options := range [][]string{
		{"-t 10.0.0.1:80", "-r 10.1.0.1", "-m", "-w 5"},
		{"-t 10.0.0.1:80", "-r 10.1.0.1:81", "-i", "--tun-type gue", "--tun-port 9"},
	} {
		permute(t, "-a ", options)
	}
	permute(t, "-A ", []string{"-t [2001:db8::1]:80", "-M 64", "-p 60", "-s sh", "-b sh-port"})
	permute(t, "-A ", []string{"-f 7 -6", "-M 64", "-p 60", "-b sh-port", "-s sh"})
}

func permute(t *testing.T, command string, options []string) {
	t.Helper()
	var want Change
	var next func(done, left []string)
	next = func(done, left []string) {
		if len(left) == 0 {
			line := command + strings.Join(done, " ")
			cmd, err := Parse(words(line), nil)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if want == "" {
				want = Change(AppendChange(nil, cmd.Change))
			}
			if got := Change(AppendChange(nil, cmd.Change)); got != want {
				t.Errorf("%s is %s, in another order %s", line, got, want)
			}
			return
		}
		for i := range left {
			next(append(slices.Clone(done), left[i]), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	next(nil, options)
}

// Change is a change as text, to be compared.
type Change string

// TestParseOthers covers the commands that are no rules.
func TestParseOthers(t *testing.T) {
	for _, c := range []struct {
		line  string
		check func(c *Command) bool
	}{
		{"-L", func(c *Command) bool { return c.Action == ActionList && c.given == 0 }},
		{"-l --sort --sort", func(c *Command) bool { return c.Action == ActionList && c.given == 0 }},
		{"-Lnc --persistent-conn", func(c *Command) bool {
			return c.given.has(colNumeric) && c.given.has(colConnection) && c.given.has(colPersistentConn)
		}},
		{"-Ln --stats --exact --json -t 10.0.0.1:80", func(c *Command) bool {
			return c.given.has(colJSON) && c.given.has(colExact) && c.Change.Service.String() == "tcp 10.0.0.1:80"
		}},
		{"-L --syncid 3", func(c *Command) bool { return c.Action == ActionList }},
		{"-C", func(c *Command) bool { return c.Action == ActionFlush }},
		{"-R", func(c *Command) bool { return c.Action == ActionRestore }},
		{"-S -n", func(c *Command) bool { return c.Action == ActionSave && c.given.has(colNumeric) }},
		{"-Z", func(c *Command) bool { return c.Action == ActionZero && !c.given.has(colService) }},
		{"-Z -f 3 -6", func(c *Command) bool { return c.Change.Service.ServiceKey == ipvs.MarkService(3, ipvs.IPv6) }},
		{"1 --set 2 3", func(c *Command) bool {
			return c.Timeouts.TCP.Seconds() == 1 && c.Timeouts.TCPFin.Seconds() == 2 && c.Timeouts.UDP.Seconds() == 3
		}},
		{"--start-daemon=backup --mcast-interface=", func(c *Command) bool { return c.Daemon.Interface == "eth0" }},
		{"-A -t 10.0.0.1:80 -b ,flag-1,,flag-3,", func(c *Command) bool { return c.Change.Service.Flags == ipvs.Sched1|ipvs.Sched3 }},
		{"--start-daemon=backup", func(c *Command) bool {
			return c.Daemon == ipvs.Daemon{State: ipvs.Backup, Interface: "eth0"}
		}},
		{"--start-daemon master --mcast-interface lo --syncid 255 --sync-maxlen 65507 --mcast-group ff05::81 --mcast-port 1 --mcast-ttl 255", func(c *Command) bool {
			return c.Daemon == ipvs.Daemon{State: ipvs.Master, Interface: "lo", SyncID: 255, MaxLen: 65507,
				Group: netip.MustParseAddr("ff05::81"), Port: 1, TTL: 255}
		}},
		{"--stop-daemon master --syncid 4", func(c *Command) bool { return c.Daemon == ipvs.Daemon{State: ipvs.Master, SyncID: 4} }},
		{"-h rubbish --nonsense", func(c *Command) bool { return c.Action == ActionHelp }},
		{"-v -Z", func(c *Command) bool { return c.Action == ActionVersion }},
		{"-hnonsense", func(c *Command) bool { return c.Action == ActionHelp }},
		{"-A -t 10.0.0.1:80 --ensure", func(c *Command) bool { return c.given.has(colEnsure) && !c.Rule() }},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -b", func(c *Command) bool { return c.fullNAT() }},
		{"-e -t 10.0.0.1:80 -r 10.0.0.2 --fullnat", func(c *Command) bool { return c.fullNAT() }},
		{"-P -t 10.0.0.1:80 -z 10.9.0.1", func(c *Command) bool { return c.Action == ActionAddLocal && c.fullNAT() }},
		{"-G", func(c *Command) bool { return c.fullNAT() }},
		{"", func(c *Command) bool { return c.Action == 0 }},
	} {
		cmd, err := Parse(words(c.line), nil)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
		} else if !c.check(&cmd) {
			t.Errorf("%s: %+v", c.line, cmd)
		}
	}
}

// TestParseErrors shows what is said of a bad command line; the number is the
// exit status.
func TestParseErrors(t *testing.T) {
	type refusal struct {
		Status int
		Text   string
	}
	for _, c := range []struct {
		line   string
		status int
		text   string
	}{
		{"-Q", 255, "-Q: you need to supply the 'service-address' option for the 'del-laddr' command"},
		{"-L -Q", 255, "-Q: unknown option"},
		{"-LnQ", 255, "-LnQ: unknown option"},
		{"-A -z 10.0.0.1", 255, "-z: unknown option"},
		{"-L --fullnat", 255, "--fullnat: unknown option"},
		{"-A -t 10.0.0.1:80 -b", 255, "-b: missing argument"},
		{"-A -t 10.0.0.1:80 --proxy-protocol v3", 2, "v3: illegal proxy protocol specified (v1, v2, v2-every or disable)"},
		{"-A -t 10.0.0.1:80 --proxy-protocol=", 2, "\"\": illegal proxy protocol specified (v1, v2, v2-every or disable)"},
		{"-A -t 10.0.0.1:80 --proxy-protocol v2-insecure", 2, "v2-insecure: not supported: whoever connects could say who he is; trusted_peers in goipvs.toml names those who may (v1, v2, v2-every or disable)"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -b --proxy-protocol v2", 2, "--proxy-protocol: illegal 'proxy-protocol' option with the 'add-server' command"},
		{"-A -t 10.0.0.1:80 --plane moon", 2, "moon: illegal plane specified (auto, kernel or userspace)"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -b --plane kernel", 2, "--plane: illegal 'plane' option with the 'add-server' command"},
		{"-A -t 10.0.0.1:80 -j on", 2, "on: illegal synproxy specified (enable or disable)"},
		{"-P -t 10.0.0.1:80 -z 10.0.0.9:80", 2, "10.0.0.9:80: illegal local address specified (a unicast address, in numbers)"},
		{"-P -t 10.0.0.1:80 -z 0.0.0.0", 2, "0.0.0.0: illegal local address specified (a unicast address, in numbers)"},
		{"-P -t 10.0.0.1:80 -z 224.0.0.1", 2, "224.0.0.1: illegal local address specified (a unicast address, in numbers)"},
		{"-P -t 10.0.0.1:80 -z ::ffff:10.0.0.9", 2, "::ffff:10.0.0.9: illegal local address specified (a unicast address, in numbers)"},
		{"-P -t 10.0.0.1:80 -z name", 2, "name: illegal local address specified (a unicast address, in numbers)"},
		{"-P -t 10.0.0.1:80 -z fe80::1%eth0", 2, "fe80::1%eth0: illegal local address specified (a unicast address, in numbers)"},
		{"--lis", 255, "--lis: unknown option, and a command must come first"},
		{"-w 5 -a", 255, "-w: a command must come first"},
		{"foo", 255, "foo: a command must come first"},
		{"-A -t", 255, "-t: missing argument"},
		{"-L --numeric=1", 255, "--numeric=1: option does not take an argument"},
		{"-C=", 255, "-C=: option does not take an argument"}, // nothing may be cleared
		{"-Ln=", 255, "-Ln=: option does not take an argument"},
		{"-a -t vip:80 -r 10.1.0.1 -m=w5", 255, "-m=w5: option does not take an argument"},
		{"-A -p -5", 255, "-5: unknown option"},
		{"-A -w x --nope", 2, "x: illegal weight specified (a number from 0 to 2147483647)"},
		{"-A --nope -w x", 255, "--nope: unknown option"},
		{"-A -t [vip6]:80 -M 255.0.0.0 --nope", 2, "255.0.0.0: illegal virtual server persistent mask specified (the service is IPv6: a prefix length from 1 to 128)"},
		{"-A -f 5 -M 255.0.0.0 --nope", 255, "--nope: unknown option"},
		{"-L -h", 2, "-h: only one command can be given, and -L was"},
		{"-LC", 2, "-LC: only one command can be given, and -LC was"},
		{"foo -L", 2, "foo: unexpected argument"},
		{"-L -- -n", 2, "-n: unexpected argument"},
		{"-L ''", 2, `"": unexpected argument`},
		{"-Lnn", 2, "-Lnn: multiple 'numeric' options specified"},
		{"-a -g -m", 2, "-m: multiple 'forwarding-method' options specified"},
		{"-A -t 10.0.0.1:80 -f 1", 2, "-f: multiple 'service-address' options specified"},
		{"-A -6 -f 1", 2, "-6: used before -f"},
		{"-A -t 10.0.0.1:80 -6", 2, "-6: used before -f"},

		{"-A -t 80", 2, "80: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t 10.1:80", 2, "10.1:80: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t 0x0a000001:80", 2, "0x0a000001:80: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t 010.0.0.1:80", 2, "010.0.0.1:80: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t fe80::1%lo", 2, "fe80::1%lo: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t [2001:db8::1]", 2, "[2001:db8::1]: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t 10.0.0.1_:80", 2, "10.0.0.1 :80: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t 10.0.0.1:65536", 2, "10.0.0.1:65536: illegal virtual server address[:port] specified (no such port)"},
		{"-A -t 10.0.0.1:+80", 2, "10.0.0.1:+80: illegal virtual server address[:port] specified (no such port)"},
		{"-A -t 10.0.0.1.:80", 2, "10.0.0.1.:80: illegal virtual server address[:port] specified (10.0.0.1:80, name:http or [2001:db8::1]:80)"},
		{"-A -t AZaz09-.x.:80", 2, "AZaz09-.x.:80: illegal virtual server address[:port] specified (no such host)"},
		{"-A -t nosuch:80", 2, "nosuch:80: illegal virtual server address[:port] specified (no such host)"},
		{"-A -t vip6:80", 2, "vip6:80: illegal virtual server address[:port] specified (no such host)"},
		{"-A -u vip:http", 2, "vip:http: illegal virtual server address[:port] specified (no such port)"},
		{"-a -r 10.1.0.1:http -t vip:80", 2, "10.1.0.1:http: illegal real server address[:port] specified (a port's name is looked up for the service's protocol: give the service first)"},

		{"-A -t vip:80 -p +30", 2, "+30: illegal timeout value specified (a number from 1 to 2678400)"},
		{"-A -t vip:80 -p=", 2, "\"\": illegal timeout value specified (a number from 1 to 2678400)"},
		{"-A -t vip:80 -w 18446744073709551617", 2, "18446744073709551617: illegal weight specified (a number from 0 to 2147483647)"},
		{"-a -t vip:80 -r vip -x -1", 2, "-1: illegal u_threshold specified (a number from 0 to 2147483647)"},
		{"-a -t vip:80 -r vip -y 2147483648", 2, "2147483648: illegal l_threshold specified (a number from 0 to 2147483647)"},
		{"-A -u vip:80 --pe s\x00p", 2, "s?p: illegal persistence engine specified"},
		{"-A -f -1", 2, "-1: illegal fwmark value specified (a number from 1 to 4294967295)"},
		{"-A -f 0x10", 2, "0x10: illegal fwmark value specified (a number from 1 to 4294967295)"},
		{"-A -t vip:80 -M 33", 2, "33: illegal virtual server persistent mask specified (a mask such as 255.255.255.0, or a prefix length: up to 32 for IPv4, 1 to 128 for IPv6)"},
		{"-A -t vip:80 -M 256", 2, "256: illegal virtual server persistent mask specified (a mask such as 255.255.255.0, or a prefix length: up to 32 for IPv4, 1 to 128 for IPv6)"},
		{"-A -t [vip6]:80 -M 255.0.0.0", 2, "255.0.0.0: illegal virtual server persistent mask specified (the service is IPv6: a prefix length from 1 to 128)"},
		{"-A -t [vip6]:80 -M 64abc", 2, "64abc: illegal virtual server persistent mask specified (the service is IPv6: a prefix length from 1 to 128)"},
		{"-A -t vip:80 -b ,", 2, ",: no scheduler flag specified"},
		{"-A -t vip:80 -b sh-port", 2, "sh-port: incompatible scheduler flag (it is for -s sh)"},
		{"-A -t vip:80 -b sh-port,_sh-port -s sh", 2, " sh-port: invalid scheduler flag"},
		{"-A -t vip:80 -s r\x00r", 2, "r?r: illegal scheduler specified"},
		{"-A -t vip", 2, "-t: zero port specified for non-persistent service"},
		{"-A -t vip:80 -o", 2, "-o: one-packet scheduling is only for UDP virtual services"},

		{"-A", 2, "-A: you need to supply the 'service-address' option for the 'add-service' command"},
		{"-C -w 1 -s rr -n", 2, "-n: illegal 'numeric' option with the 'flush' command"},
		{"-list", 2, "-list: illegal 'scheduler' option with the 'list' command"},
		{"-L -c -t vip:80", 2, "-t: the option 'service-address' conflicts with the 'connection' option in the 'list' command"},
		{"-L -c --stats", 2, "--stats: options conflict in the list command"},
		{"-L --timeout --persistent-conn", 2, "--persistent-conn: options conflict in the list command"},
		{"-S --json", 2, "--json: illegal 'json' option with the 'save' command"},
		{"-L --ensure", 2, "--ensure: illegal 'ensure' option with the 'list' command"},
		{"-a -t vip:80 -r 2001:db8::1", 2, "-r: different address family is allowed only for tunneling servers"},
		{"-a -t vip:80 -r vip -m --tun-csum", 2, "--tun-csum: tunnel options conflict with forward method"},
		{"-a -t vip:80 -r vip -i --tun-port 5", 2, "--tun-port: illegal 'tun-port' option with the 'ipip' tunnel type"},
		{"-a -t vip:80 -r vip -i --tun-type gue", 2, "--tun-type: you need to supply the 'tun-port' option for the 'gue' tunnel type"},
		{"-a -t vip:80 -r vip -i --tun-type gre --tun-remcsum", 2, "--tun-remcsum: illegal 'tun-remcsum' option with the 'gre' tunnel type"},
		{"-a -t vip:80 -r vip -i --tun-type vxlan", 2, "vxlan: illegal tunnel type specified (ipip, gue or gre)"},
		{"-a -t vip:80 -r vip -b flag-1", 2, "flag-1: unexpected argument"},
		{"--set 1 2", 2, "--set: option requires 3 timeout values"},
		{"--set 1 2 3 4", 2, "4: unexpected argument"},
		{"--set 1 x 3", 2, "x: illegal timeout value specified (a number from 0 to 2678400)"},
		{"--start-daemon foo", 2, "foo: illegal start-daemon parameter specified (master or backup)"},
		{"--start-daemon master --mcast-group ::ffff:224.0.0.1", 2, "::ffff:224.0.0.1: invalid mcast-group (an IPv4 or IPv6 multicast address)"},
		{"--start-daemon master --mcast-group 10.0.0.1", 2, "10.0.0.1: invalid mcast-group (an IPv4 or IPv6 multicast address)"},
	} {
		_, err := Parse(words(c.line), fewNames{})
		var u *UsageError
		if !errors.As(err, &u) {
			t.Errorf("%s: error %v", c.line, err)
			continue
		}
		if diff := cmp.Diff(refusal{c.status, c.text}, refusal{u.Status, u.Error()}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.line, diff)
		}
	}
}

// TestMatrix holds every command against every option: what the matrix allows
// parses, and what it does not is refused.
func TestMatrix(t *testing.T) {
	values := map[column]string{
		colScheduler: "rr", colNetmask: "24", colWeight: "1", colUpper: "1", colLower: "1", colMcastInterface: "lo",
		colSyncID: "1", colEngine: "sip", colSchedFlags: "flag-1", colMcastGroup: "224.0.0.1", colMcastPort: "1",
		colMcastTTL: "1", colMaxLen: "1", colTunType: "ipip", colTunPort: "1", colService: "10.0.0.1:80",
		colServer: "10.0.0.2", colLocal: "10.0.0.3", colProxy: "v2", colPlane: "kernel", colSynProxy: "enable",
	}
	commands := map[Action]string{
		ActionAddService: "-A", ActionEditService: "-E", ActionDeleteService: "-D", ActionFlush: "-C", ActionList: "-L",
		ActionAddServer: "-a", ActionEditServer: "-e", ActionDeleteServer: "-d", ActionSet: "--set 1 2 3",
		ActionStartDaemon: "--start-daemon master", ActionStopDaemon: "--stop-daemon master", ActionRestore: "-R",
		ActionSave: "-S", ActionZero: "-Z",
	}
	for action, command := range commands {
		r := &commandRows[action]
		for i := range options {
			o := &options[i]
			if o.col == colNone || o.only != 0 || o.long == "udp-service" || o.long == "sctp-service" || o.long == "fwmark-service" {
				continue
			}
			line := []string{command}
			for _, must := range []struct {
				col  column
				text string
			}{{colService, " -u 10.0.0.1:80"}, {colServer, " -r 10.0.0.2"}} {
				if r.must.has(must.col) && o.col != must.col {
					line = append(line, must.text)
				}
			}
			line = append(line, "--"+o.long)
			if o.arg == argRequired {
				line = append(line, values[o.col])
			}
			p := parser{}
			err := p.parse(words(strings.Join(line, " ")))
			legal := (r.must | r.may | r.one).has(o.col)
			tunnel := o.col >= colTunType && o.col <= colTunRemCsum || o.long == "real-server" && !r.must.has(colServer)
			if err == nil && !legal {
				t.Errorf("%s: accepted", line)
			}
			if err != nil && legal && !tunnel && !strings.Contains(err.Error(), "need to supply") {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}
