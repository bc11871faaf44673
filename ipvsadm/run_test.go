package ipvsadm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"github.com/goipvs/goipvs/ipvsadm"
)

// table makes a kernel that holds what some rules say.
func table(t *testing.T, rules string) *ipvstest.Kernel {
	t.Helper()
	k := fakeKernel()
	if a := run(k, "goipvs", rules, "-R"); a != (answer{}) {
		t.Fatalf("rules: %+v", a)
	}
	return k
}

const oneServer = `-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5
`

const startIt = "goipvs: hint: start it with \"systemctl start goipvsd\" or \"goipvsd start\"\n"

// runCase is what a user sees: the answer to a command line, and the table
// afterwards when it changed.
type runCase struct {
	name, rules string
	inject      ipvstest.Fault
	argv        string
	want        answer
	table       string // "": unchanged
}

func runCases() []runCase {
	return []runCase{
		{name: "add", argv: "-A -t 192.0.2.1:80 -s rr", table: "-A -t 192.0.2.1:80 -s rr\n"},
		{name: "add twice", rules: oneServer, argv: "-A -t 192.0.2.1:80 -s rr", want: answer{Exit: 255, Stderr: `goipvs: add service tcp 192.0.2.1:80 rr: already exists
goipvs: hint: -E changes a service; --ensure makes it so either way
`}},
		{name: "unknown scheduler", argv: "-A -t 192.0.2.1:80 -s wrrr", want: answer{Exit: 255, Stderr: `goipvs: add service tcp 192.0.2.1:80 wrrr: scheduler not available (ip_vs_wrrr)
goipvs: hint: is it spelled right (rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh)? If so, "modprobe ip_vs_wrrr"
`}},
		{name: "missing real server on another port", rules: oneServer, argv: "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -w 9", want: answer{Exit: 255, Stderr: `goipvs: update destination 10.0.0.1:80 of tcp 192.0.2.1:80: no such destination
goipvs: hint: without -m the port is that of the service; a server on another port is masqueraded: -m
`}},
		{name: "thresholds crossed", rules: oneServer, argv: "-a -t 192.0.2.1:80 -r 10.0.0.2 -y 20", want: answer{Exit: 255, Stderr: `goipvs: add destination 10.0.0.2:80 of tcp 192.0.2.1:80: out of range
goipvs: hint: -y must not be above -x, and -x is 0 when it is not given
`}},
		{name: "multicast real server", rules: oneServer, argv: "-a -t 192.0.2.1:80 -r 224.0.0.1", want: answer{Exit: 255, Stderr: `goipvs: add destination 224.0.0.1:80 of tcp 192.0.2.1:80: invalid argument
goipvs: hint: a real server has a unicast address: not multicast, broadcast, 0.0.0.0 or IPv6 link-local
`}},
		{name: "loopback down", rules: oneServer, inject: ipvstest.Fault{Err: unix.EINVAL}, argv: "-a -t 192.0.2.1:80 -r 10.0.0.2", want: answer{Exit: 255, Stderr: `goipvs: add destination 10.0.0.2:80 of tcp 192.0.2.1:80: invalid argument
goipvs: hint: is the loopback interface up? IPVS needs it: "ip link set lo up"
`}},
		{name: "not allowed", rules: oneServer, inject: ipvstest.Fault{Err: unix.EPERM}, argv: "-D -t 192.0.2.1:80", want: answer{Exit: 2, Stderr: `goipvs: delete service tcp 192.0.2.1:80: permission denied (CAP_NET_ADMIN is needed)
goipvs: hint: run it as root or with the capability CAP_NET_ADMIN; a container gets that by --cap-add NET_ADMIN
`}},
		{name: "listing not allowed", inject: ipvstest.Fault{Err: unix.EPERM}, argv: "-Ln", want: answer{Exit: 2, Stderr: `goipvs: read info: permission denied (CAP_NET_ADMIN is needed)
goipvs: hint: run it as root or with the capability CAP_NET_ADMIN; a container gets that by --cap-add NET_ADMIN
`}},
		{name: "connections not allowed", inject: ipvstest.Fault{Err: unix.EPERM}, argv: "-Lcn", want: answer{Exit: 2, Stderr: `goipvs: read info: permission denied (CAP_NET_ADMIN is needed)
goipvs: hint: run it as root or with the capability CAP_NET_ADMIN; a container gets that by --cap-add NET_ADMIN
`}},
		{name: "list what is not there", rules: oneServer, argv: "-Ln -u 192.0.2.1:80", want: answer{Exit: 1, Stderr: "goipvs: read service udp 192.0.2.1:80: no such service\n"}},
		{name: "no interface", argv: "--start-daemon master", want: answer{Exit: 255, Stderr: `goipvs: start sync daemon master eth0: no such network interface
goipvs: hint: --mcast-interface names the interface; it is eth0 when not given
`}},
		{name: "zero everything", rules: oneServer, argv: "-Z -t 0.0.0.0:0"},
		{name: "zero what is not there", argv: "-Z -t 192.0.2.1:80", want: answer{Exit: 255, Stderr: "goipvs: zero counters tcp 192.0.2.1:80: no such service\n"}},
		{name: "zero an address without a port", rules: oneServer, argv: "-Z -t 192.0.2.1", want: answer{Exit: 255, Stderr: "goipvs: zero counters tcp 192.0.2.1:0: no such service\n"}},
		{name: "zero a port of any address", rules: oneServer, argv: "-Z -t 0.0.0.0:80", want: answer{Exit: 255, Stderr: "goipvs: zero counters tcp 0.0.0.0:80: no such service\n"}},
		{name: "zero a mark", rules: oneServer, argv: "-Z -f 7", want: answer{Exit: 255, Stderr: "goipvs: zero counters fwmark 7: no such service\n"}},
		{name: "unknown option", argv: "-LQ", want: answer{Exit: 255, Stderr: `goipvs: -LQ: unknown option
goipvs: hint: "goipvs --help" lists the commands and their options
`}},
		{name: "full NAT", argv: "-a -t 192.0.2.1:80 -r 10.0.0.1 -b", want: answer{Exit: 1, Stderr: "goipvs: goipvsd does not run, and full NAT is its work\n" + startIt}},
		{name: "local address", argv: "-P -t 192.0.2.1:80 -z 10.0.0.1", want: answer{Exit: 1, Stderr: "goipvs: goipvsd does not run, and full NAT is its work\n" + startIt}},
		{name: "version", argv: "--version", want: answer{Stdout: "goipvs test\n"}},

		{name: "ensure a new service", argv: "-A -t 192.0.2.1:80 --ensure", want: answer{Stdout: "-A -t 192.0.2.1:80 -s wlc\n"}, table: "-A -t 192.0.2.1:80 -s wlc\n"},
		{name: "ensure by editing", argv: "-E -t 192.0.2.1:80 --ensure", want: answer{Stdout: "-A -t 192.0.2.1:80 -s wlc\n"}, table: "-A -t 192.0.2.1:80 -s wlc\n"},
		{name: "ensure what is so", rules: oneServer, argv: "-A -t 192.0.2.1:80 -s rr --ensure"},
		{name: "ensure another scheduler", rules: oneServer, argv: "-A -t 192.0.2.1:80 -s sh -b sh-port --ensure",
			want:  answer{Stdout: "-E -t 192.0.2.1:80 -s sh -b sh-port\n"},
			table: "-A -t 192.0.2.1:80 -s sh -b sh-port\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n"},
		{name: "ensure a real server", rules: oneServer, argv: "-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m --ensure",
			want:  answer{Stdout: "-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1\n"},
			table: oneServer + "-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1\n"},
		{name: "ensure a weight", rules: oneServer, argv: "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0 --ensure",
			want:  answer{Stdout: "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0\n"},
			table: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0\n"},
		{name: "ensure the same weight", rules: oneServer, argv: "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5 --ensure"},
		{name: "ensure a real server of no service", argv: "-a -t 192.0.2.1:80 -r 10.0.0.1 --ensure", want: answer{Exit: 255, Stderr: `goipvs: read service tcp 192.0.2.1:80: no such service
goipvs: hint: -A adds the service
`}},
		{name: "ensure deletion", rules: oneServer, argv: "-d -t 192.0.2.1:80 -r 10.0.0.1:8080 --ensure",
			want: answer{Stdout: "-d -t 192.0.2.1:80 -r 10.0.0.1:8080\n"}, table: "-A -t 192.0.2.1:80 -s rr\n"},
		{name: "ensure deletion of nothing", rules: oneServer, argv: "-D -t 192.0.2.9:80 --ensure"},
		{name: "ensure deletion of a real server of no service", argv: "-d -t 192.0.2.9:80 -r 10.0.0.1 --ensure"},
		{name: "ensure something bad", argv: "-A -t 192.0.2.1:80 -s wrrr --ensure", want: answer{Exit: 255, Stderr: `goipvs: add service tcp 192.0.2.1:80 wrrr: scheduler not available (ip_vs_wrrr)
goipvs: hint: is it spelled right (rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh)? If so, "modprobe ip_vs_wrrr"
`}},
	}
}

func TestRun(t *testing.T) {
	for _, c := range runCases() {
		t.Run(c.name, func(t *testing.T) {
			k := table(t, c.rules)
			if c.inject.Err != nil {
				k.Inject(c.inject)
			}
			c.run(t, k, k.Other())
		})
	}
}

// TestEveryFailureIsTold: whatever the kernel refuses, at whichever step, a command
// says so and its status is not 0.
func TestEveryFailureIsTold(t *testing.T) {
	for _, c := range []struct {
		argv   string
		status int
	}{
		{"-A -t 192.0.2.2:80", 255},
		{"-A -t 192.0.2.2:80 --ensure", 255},
		{"-E -t 192.0.2.1:80", 255},
		{"-E -t 192.0.2.1:80 --ensure", 255},
		{"-D -t 192.0.2.1:80", 255},
		{"-D -t 192.0.2.1:80 --ensure", 255},
		{"-a -t 192.0.2.1:80 -r 10.0.0.2", 255},
		{"-a -t 192.0.2.1:80 -r 10.0.0.2 --ensure", 255},
		{"-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m", 255},
		{"-d -t 192.0.2.1:80 -r 10.0.0.1:8080", 255},
		{"-d -t 192.0.2.1:80 -r 10.0.0.1:8080 --ensure", 255},
		{"-C", 255},
		{"-Z", 255},
		{"-Z -t 192.0.2.1:80", 255},
		{"--set 1 2 3", 255},
		{"--start-daemon master --mcast-interface lo", 255},
		{"--stop-daemon backup", 255},
		{"-L", 1},
		{"-L -t 192.0.2.1:80", 1},
		{"-L --json", 1},
		{"-L --timeout", 1},
		{"-L --daemon", 1},
		{"-S", 1},
	} {
		for step := 0; ; step++ {
			k := table(t, oneServer+"--start-daemon backup --mcast-interface dum0\n")
			k.Inject(ipvstest.Fault{After: step, Err: unix.ENOMEM})
			got := run(k, "goipvs", "", strings.Fields(c.argv)...)
			if got.Exit == 0 && got.Stderr == "" {
				if step == 0 {
					t.Errorf("%s: nothing was refused", c.argv)
				}
				break
			}
			if got.Exit != c.status || !strings.Contains(got.Stderr, unix.ENOMEM.Error()) {
				t.Fatalf("%s, step %d: exit %d, %q", c.argv, step, got.Exit, got.Stderr)
			}
		}
	}
}

// run runs a case on k; other looks at the table.
func (c *runCase) run(t *testing.T, k, other ipvsadm.Kernel) {
	want := c.table
	if want == "" {
		want = save(t, other)
	}
	got := run(k, "/usr/local/sbin/goipvs", "", strings.Fields(c.argv)...)
	if diff := cmp.Diff(c.want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, save(t, other)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestEnsureRaces: somebody else may be faster between our look and our change.
func TestEnsureRaces(t *testing.T) {
	for _, c := range []struct {
		name, rules, other, argv, stdout, table string
	}{
		{"they add it as we want it", "", "-A -t 192.0.2.1:80 -s rr", "-A -t 192.0.2.1:80 -s rr --ensure",
			"", "-A -t 192.0.2.1:80 -s rr\n"},
		{"they add it otherwise", "", "-A -t 192.0.2.1:80 -s lc", "-A -t 192.0.2.1:80 -s rr --ensure",
			"-E -t 192.0.2.1:80 -s rr\n", "-A -t 192.0.2.1:80 -s rr\n"},
		{"they delete it", "-A -t 192.0.2.1:80 -s lc\n", "-D -t 192.0.2.1:80", "-E -t 192.0.2.1:80 -s rr --ensure",
			"-A -t 192.0.2.1:80 -s rr\n", "-A -t 192.0.2.1:80 -s rr\n"},
		{"they delete the real server", oneServer, "-d -t 192.0.2.1:80 -r 10.0.0.1:8080", "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m --ensure",
			"-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1\n", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := table(t, c.rules)
			raced := false
			k.OnCall(func(call ipvstest.Call) {
				if change := strings.HasPrefix(call.Op, "add") || strings.HasPrefix(call.Op, "update"); change && !raced {
					raced = true
					if a := run(k.Other(), "goipvs", "", strings.Fields(c.other)...); a != (answer{}) {
						t.Errorf("other: %+v", a)
					}
				}
			})
			got := run(k, "goipvs", "", strings.Fields(c.argv)...)
			if diff := cmp.Diff(answer{Stdout: c.stdout}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			k.OnCall(nil)
			if diff := cmp.Diff(c.table, save(t, k)); diff != "" || !raced {
				t.Errorf("raced %v, table (-want +got):\n%s", raced, diff)
			}
		})
	}
}

// TestCasesWithoutIPVS runs the recorded cases of a kernel without IPVS and of
// a user without rights.
func TestCasesWithoutIPVS(t *testing.T) {
	ran := 0
	for _, c := range goldenCases(t) {
		missing := slices.Contains(c.Tags, "no-module")
		if !missing && c.UID == 0 {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			k := fakeKernel()
			if missing {
				k.Unload()
			} else {
				k.Inject(ipvstest.Fault{Err: unix.EPERM, Times: -1})
			}
			got := run(k, "ipvsadm", c.Stdin, c.Argv...)
			want := status(c.Exit)
			if c.Expect == "better" {
				want = status(c.better(t, "exit", c.Exit))
			}
			if got.Exit != want || (c.Expect == "refuse") != (got.Stderr != "" && got.Stdout == "") {
				t.Errorf("got %+v, want exit %d", got, want)
			}
		})
	}
	if ran == 0 {
		t.Error("no such case")
	}
}

// TestDialFails: nothing is dialed before the command line is understood, and
// never for help.
func TestDialFails(t *testing.T) {
	for _, c := range []struct {
		argv   string
		dialed bool
		exit   int
	}{
		{"-h", false, 0}, {"--version", false, 0}, {"-A -t nonsense", false, 2}, {"-X", false, 255},
		{"-Ln", true, 2}, {"-A -t 192.0.2.1:80", true, 2}, {"-R", true, 2}, {"-C", true, 2}, {"-Lcn", true, 2},
	} {
		dialed := false
		var out, errs bytes.Buffer
		r := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Dial: func() (ipvsadm.Kernel, error) {
			dialed = true
			return nil, &ipvs.OpError{Op: "open", Err: ipvs.ErrNoIPVS}
		}}
		exit := r.Run(strings.Fields(c.argv))
		if exit != c.exit || dialed != c.dialed || (exit != 0) != (errs.Len() > 0) || (exit == 0) != (out.Len() > 0) {
			t.Errorf("%s: exit %d, dialed %v, stdout %q, stderr %q", c.argv, exit, dialed, out.String(), errs.String())
		}
	}
}

// fullDisk is a disk that is full for the first write; then somebody makes room.
type fullDisk struct{ tried bool }

func (d *fullDisk) Write(b []byte) (int, error) {
	if !d.tried {
		d.tried = true
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

// TestWriteFails: what could not be printed was not done.
func TestWriteFails(t *testing.T) {
	rules := strings.Builder{} // more than is written at once
	rules.WriteString("--start-daemon backup --mcast-interface dum0\n-A -t 192.0.2.1:80 -s rr\n")
	for i := range 1000 {
		fmt.Fprintf(&rules, "-a -t 192.0.2.1:80 -r 10.0.%d.%d:8080 -m -w 5\n", i>>8, i&255)
	}
	k := table(t, rules.String())
	for _, argv := range []string{"-Ln", "-Ln -t 192.0.2.1:80", "-Sn", "-L --timeout", "-L --daemon", "-h", "-v", "-Lcn", "-Ln --json", "-L --json -t 192.0.2.1:80",
		"-L --daemon --json", "-L --timeout --json", "-Lc --json", "-A -t 192.0.2.2:80 --ensure"} {
		var errs bytes.Buffer
		r := ipvsadm.Runner{Prog: "goipvs", Stdout: &fullDisk{}, Stderr: &errs,
			Dial: func() (ipvsadm.Kernel, error) { return k, nil },
			OpenConnections: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("Pro FromIP \n" + strings.Repeat("TCP 0A010002 B798 0A000001 0050 0A02000B 1F90 ESTABLISHED     899\n", 1000))), nil
			}}
		want := 1
		if strings.HasPrefix(argv, "-A") {
			want = 255
		}
		if exit := r.Run(strings.Fields(argv)); exit != want || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%s: exit %d, stderr %q", argv, exit, errs.String())
		}
	}
}
