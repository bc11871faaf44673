package ipvsadm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"github.com/goipvs/goipvs/ipvsadm"
)

// restoreCase is what comes of a rules file.
type restoreCase struct {
	name, have, rules string
	want              answer
	table             string
}

func restoreCases() []restoreCase {
	return []restoreCase{
		{name: "nothing", have: oneServer, table: oneServer},
		{name: "comments and blanks",
			rules: "# one\n\n  # two\n\t-A -t 192.0.2.1:80 # three\r\n/usr/sbin/ipvsadm -A -t 192.0.2.2:80\ngoipvs -A -t 192.0.2.3:80#x\n",
			want:  answer{Exit: 2, Stderr: "goipvs: stdin:6: 192.0.2.3:80#x: illegal virtual server address[:port] specified (no port for service name \"80#x\" with tcp)\ngoipvs: stdin: nothing was changed\n"}},
		{name: "comments are no words",
			rules: "# one\n\n  # two\n\t-A -t 192.0.2.1:80 # three\r\n/usr/sbin/ipvsadm -A -t 192.0.2.2:80\nipvsadm -A ipvsadm -t 192.0.2.3:80",
			table: "-A -t 192.0.2.1:80 -s wlc\n-A -t 192.0.2.2:80 -s wlc\n-A -t 192.0.2.3:80 -s wlc\n"},
		{name: "all bad lines are told", have: oneServer, table: oneServer,
			rules: "-A -t 192.0.2.9:80\n-A -t 192.0.2.10\nfoo\n-A -t 192.0.2.11:80 --wat\n-h\n",
			want: answer{Exit: 2, Stderr: `goipvs: stdin:2: -t: zero port specified for non-persistent service
goipvs: stdin:3: foo: a command must come first
goipvs: stdin:4: --wat: unknown option
goipvs: stdin:5: -h: has no place in a rules file
goipvs: stdin: nothing was changed
`}},
		{name: "restore within restore", rules: "-A -t 192.0.2.9:80\n-R\n",
			want: answer{Exit: 255, Stderr: "goipvs: stdin:2: -R: no restore within a restore\ngoipvs: stdin: nothing was changed\n"}},
		{name: "refused lines do not stop the others",
			rules: "-A -t 192.0.2.1:80\n\n-A -t 192.0.2.1:80\n-a -t 192.0.2.2:80 -r 10.0.0.1\n# x\n-A -t 192.0.2.3:80\n-A -t 192.0.2.1:80\n",
			want: answer{Exit: 255, Stderr: `goipvs: stdin:3: add service tcp 192.0.2.1:80 wlc: already exists
goipvs: hint: -E changes a service; --ensure makes it so either way
goipvs: stdin:4: add destination 10.0.0.1:80 of tcp 192.0.2.2:80: no such service
goipvs: hint: -A adds the service
goipvs: stdin:7: add service tcp 192.0.2.1:80 wlc: already exists
`},
			table: "-A -t 192.0.2.1:80 -s wlc\n-A -t 192.0.2.3:80 -s wlc\n"},
		{name: "other commands in their turn", have: oneServer,
			rules: "-A -t 192.0.2.2:80\n-Sn\n-C\n-Sn\n--set 1 2 3\n-L --timeout\n-A -t 192.0.2.3:80 --ensure\n-A -t 192.0.2.3:80 --ensure\n-A -t 192.0.2.3:80\n-Ln -t 192.0.2.9:80\n-A -t 192.0.2.4:80\n",
			want: answer{Exit: 255, Stdout: oneServer + "-A -t 192.0.2.2:80 -s wlc\nTimeout (tcp tcpfin udp): 1 2 3\n-A -t 192.0.2.3:80 -s wlc\n",
				Stderr: `goipvs: stdin:9: add service tcp 192.0.2.3:80 wlc: already exists
goipvs: hint: -E changes a service; --ensure makes it so either way
goipvs: stdin:10: read service tcp 192.0.2.9:80: no such service
`},
			table: "-A -t 192.0.2.3:80 -s wlc\n"}, // as ipvsadm, which ends at a listing that it cannot make
		{name: "full NAT", rules: "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1 -b\n-a -t 192.0.2.1:80 -r 10.0.0.2\n",
			want: answer{Exit: 1, Stderr: "goipvs: stdin:2: goipvsd does not run, and full NAT is its work\n" + startIt + "goipvs: stdin: nothing was changed\n"}},
	}
}

func TestRestore(t *testing.T) {
	for _, c := range restoreCases() {
		t.Run(c.name, func(t *testing.T) { c.run(t, table(t, c.have)) })
	}
}

func (c *restoreCase) run(t *testing.T, k ipvsadm.Kernel) {
	if diff := cmp.Diff(c.want, run(k, "goipvs", c.rules, "-R")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c.table, save(t, k)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestRestoreManyErrors: a file of something else entirely does not fill the
// screen.
func TestRestoreManyErrors(t *testing.T) {
	a := run(fakeKernel(), "goipvs", strings.Repeat("nonsense\n", 1000), "-R")
	lines := strings.Split(strings.TrimSpace(a.Stderr), "\n")
	if a.Exit != 2 || len(lines) != 22 || !strings.HasPrefix(lines[19], "goipvs: stdin:20: ") || lines[20] != "goipvs: stdin: too many errors" {
		t.Errorf("%+v", a)
	}
}

// TestRestoreLong restores more than one chunk, and finds the line numbers in
// all of it.
func TestRestoreLong(t *testing.T) {
	var rules strings.Builder
	const n = 12_000
	for i := range n {
		fmt.Fprintf(&rules, "-A -t 10.%d.%d.%d:80 -s rr -p 300 %s\n", i>>16, i>>8&255, i&255, strings.Repeat(" ", i%97))
		if i%1000 == 999 {
			rules.WriteString("\n-D -t 192.0.2.1:80\n")
		}
	}
	k := fakeKernel()
	a := run(k, "goipvs", rules.String(), "-R")
	var want strings.Builder
	for i := range n / 1000 {
		fmt.Fprintf(&want, "goipvs: stdin:%d: delete service tcp 192.0.2.1:80: no such service\n", (i+1)*1002)
	}
	if diff := cmp.Diff(answer{Exit: 255, Stderr: want.String()}, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	services, err := k.Services()
	if err != nil || len(services) != n {
		t.Errorf("%d services, error %v", len(services), err)
	}
}

// TestRestoreInput: whatever is wrong with the input, nothing is changed.
func TestRestoreInput(t *testing.T) {
	broken := errors.New("broken pipe")
	rule := "-A -t 192.0.2.1:80\n"
	for _, c := range []struct {
		name string
		in   io.Reader
		want string
	}{
		{"read error", io.MultiReader(strings.NewReader(rule), iotest.ErrReader(broken)), "goipvs: read stdin: broken pipe\n"},
		{"endless line", io.MultiReader(strings.NewReader(rule), strings.NewReader(strings.Repeat("x", 1<<20))), "goipvs: read stdin: line too long\n"},
		{"binary", strings.NewReader("\x00\x01\x02\xff\n"), "goipvs: stdin:1: ????: a command must come first\ngoipvs: stdin: nothing was changed\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			k := fakeKernel()
			r := ipvsadm.Runner{Prog: "goipvs", Stdin: c.in, Stderr: &errs, Dial: func() (ipvsadm.Kernel, error) { return k, nil }}
			if exit := r.Run([]string{"-R"}); exit != 2 || errs.String() != c.want {
				t.Errorf("exit %d, stderr %q", exit, errs.String())
			}
			if got := save(t, k); got != "" {
				t.Errorf("table %q", got)
			}
		})
	}
}

// TestRestoreGivesUp: when IPVS goes away in the middle that is said once.
func TestRestoreGivesUp(t *testing.T) {
	k := fakeKernel()
	k.Inject(ipvstest.Fault{Op: "add service", After: 1, Times: -1, Err: ipvs.ErrNoIPVS})
	a := run(k, "goipvs", "-A -t 192.0.2.1:80\n-A -t 192.0.2.2:80\n-A -t 192.0.2.3:80\n-Ln\n", "-R")
	if a.Exit == 0 || !strings.Contains(a.Stderr, "the kernel has no IPVS") {
		t.Errorf("%+v", a)
	}
}

// TestRestoreScript: ipvsadm-restore makes the table what the file says and
// leaves alone what is right already.
func TestRestoreScript(t *testing.T) {
	const have = `-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 5
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 5
-A -t 192.0.2.2:80 -s rr
`
	for _, c := range []struct {
		name, rules string
		want        answer
		changes     string
		table       string
	}{
		{name: "the same", rules: "#x\n" + have, table: have},
		{name: "one server less, one service less, a weight",
			rules:   "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 6\n",
			changes: "update destination 10.0.0.1:80 of tcp 192.0.2.1:80\ndelete destination 10.0.0.2:80 of tcp 192.0.2.1:80\ndelete service tcp 192.0.2.2:80\n",
			table:   "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 6\n"},
		{name: "empty", changes: "delete service tcp 192.0.2.1:80\ndelete service tcp 192.0.2.2:80\n"},
		{name: "bad line", rules: "-A -t 192.0.2.3:80\nfoo\n", table: have,
			want: answer{Exit: 2, Stderr: "ipvsadm-restore: stdin:2: foo: a command must come first\nipvsadm-restore: stdin: nothing was changed\n"}},
		{name: "indented comment", rules: have + " # x\n", table: have,
			want: answer{Exit: 255, Stderr: "ipvsadm-restore: stdin:5: #: a comment must begin in the first column\nipvsadm-restore: stdin: nothing was changed\n"}},
		{name: "contradictions", rules: have + "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n-a -t 192.0.2.7:80 -r 10.0.0.1\n", table: have,
			want: answer{Exit: 255, Stderr: `ipvsadm-restore: stdin:5: add service tcp 192.0.2.1:80 wlc: already exists
ipvsadm-restore: stdin:6: add destination 10.0.0.1:80 of tcp 192.0.2.1:80: already exists
ipvsadm-restore: stdin:7: add destination 10.0.0.1:80 of tcp 192.0.2.7:80: no such service
`}},
		{name: "what the kernel refuses", rules: have + "-A -t 192.0.2.3:80 -s wrrr\n", table: have,
			changes: "add service tcp 192.0.2.3:80 wrrr\n",
			want: answer{Exit: 255, Stderr: `ipvsadm-restore: stdin:5: add service tcp 192.0.2.3:80 wrrr: scheduler not available (ip_vs_wrrr)
ipvsadm-restore: hint: is it spelled right (rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh)? If so, "modprobe ip_vs_wrrr"
`}},
		{name: "other commands", rules: "-A -t 192.0.2.1:80 -s rr\n-E -t 192.0.2.1:80 -s lc\n",
			changes: "flush\nadd service tcp 192.0.2.1:80 rr\nupdate service tcp 192.0.2.1:80 lc\n", table: "-A -t 192.0.2.1:80 -s lc\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := table(t, have)
			var changes strings.Builder
			k.OnCall(func(call ipvstest.Call) {
				if !strings.HasPrefix(call.Op, "list") && !strings.HasPrefix(call.Op, "read") {
					fmt.Fprintln(&changes, strings.TrimSpace(call.Op+" "+call.Object))
				}
			})
			if diff := cmp.Diff(c.want, run(k, "/sbin/ipvsadm-restore", c.rules)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			k.OnCall(nil)
			if diff := cmp.Diff(c.changes, changes.String()); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.table, save(t, k)); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRestoreStopsAfterCommand: what ends a restore is not put down to the last
// command that was no rule.
func TestRestoreStopsAfterCommand(t *testing.T) {
	k := table(t, oneServer)
	k.Inject(ipvstest.Fault{Op: "add service", Err: unix.EPERM})
	got := run(k, "goipvs", "-Z -t 192.0.2.9:80\n-A -t 192.0.2.2:80\n-C\n", "-R")
	want := answer{Exit: 255, Stderr: `goipvs: stdin:1: zero counters tcp 192.0.2.9:80: no such service
goipvs: apply changes: permission denied (CAP_NET_ADMIN is needed)
goipvs: hint: run it as root or with the capability CAP_NET_ADMIN; a container gets that by --cap-add NET_ADMIN
`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := save(t, k); got != oneServer {
		t.Errorf("afterwards:\n%s", got)
	}
}
