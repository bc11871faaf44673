package ipvsadm

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// applied runs Apply on k and returns what it printed, its status last.
func applied(k *ipvstest.Kernel, rules string, o ApplyOptions) string {
	var out, errw strings.Builder
	r := Runner{Prog: "goipvs", Stdin: strings.NewReader(rules), Stdout: &out, Stderr: &errw,
		Dial: func() (Kernel, error) { return k, nil }}
	status := r.Apply(o)
	return out.String() + errw.String() + "status " + string(rune('0'+status)) + "\n"
}

func TestApply(t *testing.T) {
	const web = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n"
	const had = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.9:80 -m -w 1\n-A -f 7 -s wlc\n"
	tests := []struct {
		name, rules string
		o           ApplyOptions
		want        string
	}{
		{"the fewest changes, others stay", web, ApplyOptions{},
			"-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n-d -t 192.0.2.1:80 -r 10.0.0.9:80\n# 2 changes\nstatus 0\n"},
		{"prune", web, ApplyOptions{Prune: true, DryRun: true},
			"-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n-d -t 192.0.2.1:80 -r 10.0.0.9:80\n-D -f 7\n# 3 changes to make\nstatus 0\n"},
		{"changes as a status", web, ApplyOptions{DryRun: true, DetailedExit: true},
			"-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n-d -t 192.0.2.1:80 -r 10.0.0.9:80\n# 2 changes to make\nstatus 2\n"},
		{"nothing to do", had, ApplyOptions{DetailedExit: true}, "# nothing to change\nstatus 0\n"},
		{"json", "-A -f 7 -s rr", ApplyOptions{JSON: true},
			"{\"changed\":true,\"changes\":[\n\"-E -f 7 -s rr\"],\"withheld\":[]}\nstatus 0\n"},
		{"a refusal names its line, the rest is done", "-A -f 8 -s nosuch\n-A -f 9 -s rr\n", ApplyOptions{},
			"-A -f 9 -s rr\n# 1 change\ngoipvs: stdin:1: add service fwmark 8 nosuch: scheduler not available (ip_vs_nosuch)\n" +
				"goipvs: hint: is it spelled right (rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh)? If so, \"modprobe ip_vs_nosuch\"\nstatus 1\n"},
		{"a service keeps what it has when all it should have is refused", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 224.0.0.1:80 -m -w 1\n", ApplyOptions{},
			"# 0 changes\ngoipvs: stdin:2: add destination 224.0.0.1:80 of tcp 192.0.2.1:80: invalid argument\n" +
				"goipvs: hint: a real server has a unicast address: not multicast, broadcast, 0.0.0.0 or IPv6 link-local\n" +
				"goipvs: not done, so that no service is left without what it had: 1 change\nstatus 1\n"},
		{"bad rules", "-A -f 8 -s rr\n-A -f many\n", ApplyOptions{Source: "web.rules"},
			"goipvs: web.rules:2: many: illegal fwmark value specified (a number from 1 to 4294967295)\ngoipvs: web.rules: nothing was changed\nstatus 2\n"},
		{"bad rules with changes as a status", "-A -f many\n", ApplyOptions{DetailedExit: true},
			"goipvs: stdin:1: many: illegal fwmark value specified (a number from 1 to 4294967295)\ngoipvs: stdin: nothing was changed\nstatus 1\n"},
		{"other commands", "-A -f 8\n\n-C\n", ApplyOptions{}, "goipvs: stdin:3: only the commands -A, -P and -a describe a table\ngoipvs: stdin: nothing was changed\nstatus 2\n"},
		{"a byte order mark", "\xef\xbb\xbf-A -t 192.0.2.1:80 -s rr\r\n-a -t 192.0.2.1:80 -r 10.0.0.9:80 -m -w 1\r\n", ApplyOptions{}, "# nothing to change\nstatus 0\n"},
		{"UTF-16", "\xff\xfe-\x00A\x00", ApplyOptions{}, "goipvs: read stdin: it is UTF-16: save it as UTF-8\nstatus 2\n"},
		{"the same server twice", web + "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 2\n", ApplyOptions{},
			"goipvs: stdin:3: add destination 10.0.0.1:80 of tcp 192.0.2.1:80: already exists\ngoipvs: stdin: nothing was changed\nstatus 2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := ipvstest.New(ipvstest.Options{})
			applied(k, had, ApplyOptions{})
			before := k.String()
			if diff := cmp.Diff(tt.want, applied(k, tt.rules, tt.o)); diff != "" {
				t.Error(diff)
			}
			if changed := k.String() != before; changed && (tt.o.DryRun || strings.HasSuffix(tt.want, "status 2\n")) {
				t.Errorf("the table was changed:\n%s", k.String())
			}
			if strings.Contains(tt.want, "# ") && !tt.o.DryRun && !strings.Contains(tt.want, "status 1") {
				if again := applied(k, tt.rules, tt.o); !strings.HasPrefix(again, "# nothing to change\n") {
					t.Errorf("the second time:\n%s", again)
				}
			}
		})
	}
}

func TestApplyWhileOthersWrite(t *testing.T) {
	k := ipvstest.New(ipvstest.Options{})
	applied(k, "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.9:80 -m -w 1\n", ApplyOptions{})
	other, times := k.Other(), 0
	k.OnCall(func(c ipvstest.Call) {
		if times++; times == 3 { // between the reading and the writing
			s := ipvs.Service{ServiceKey: ipvs.MarkService(7, ipvs.IPv4), Scheduler: "rr"}
			if err := other.Do(ipvs.Change{Op: ipvs.AddService, Service: s}); err != nil {
				t.Error(err)
			}
		}
	})
	got := applied(k, "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n", ApplyOptions{})
	if !strings.HasSuffix(got, "status 0\n") || !strings.Contains(k.String(), "fwmark 7") || strings.Contains(k.String(), "10.0.0.9") {
		t.Errorf("%stable:\n%s", got, k.String())
	}
}

// A kernel that cannot be used is a failure, and no bad command line.
func TestApplyWithoutKernel(t *testing.T) {
	for _, why := range []error{ipvs.ErrNoIPVS, ipvs.ErrPermission} {
		k := ipvstest.New(ipvstest.Options{})
		k.Inject(ipvstest.Fault{Times: -1, Err: why})
		if got := applied(k, "-A -f 7\n", ApplyOptions{}); !strings.HasSuffix(got, "status 1\n") {
			t.Errorf("while reading: %s", got)
		}
		r := Runner{Prog: "goipvs", Stdin: strings.NewReader("-A -f 7\n"), Stdout: io.Discard, Stderr: io.Discard,
			Dial: func() (Kernel, error) { return nil, why }}
		if status := r.Apply(ApplyOptions{}); status != 1 {
			t.Errorf("%v: status %d", why, status)
		}
	}
}
