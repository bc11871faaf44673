package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
)

// fakeDaemon answers as goipvsd would and keeps what it was asked.
func fakeDaemon(t *testing.T) (socket string, asked *[]string) {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	since, last, one, seven := now.Add(-72*time.Second), now.Add(-time.Second), int32(1), int32(7)
	st := control.Status{Version: "1", PID: 7, Started: now.Add(-50 * time.Hour), Time: now, Config: "/etc/goipvs/goipvs.toml", Kernel: "ok",
		Services: []control.ServiceStatus{{
			Name: "web", Service: "tcp 192.0.2.10:80", Scheduler: "wlc", State: "up", Since: &since, Quorum: 1,
			Servers: []control.ServerStatus{
				{Address: "10.0.0.1:80", Verdict: "up", Since: &since, Place: "in", Cause: "healthy", Weight: 1, WeightWanted: 1, WeightKernel: &one,
					Active: 12, Checks: []control.Check{{Type: "http", Verdict: "up", Last: &last, Seconds: .0021}}},
				{Address: "10.0.0.2:80", Name: "db.example.com:80", Verdict: "down", Since: &since, Place: "quiesced", Cause: "failed", Reason: "timed out",
					Override: &control.Override{Kind: "weight", Weight: &seven, By: "ann", Reason: "bigger"}},
			}}}}
	asked = new([]string)
	verb := func(result any, err error) control.Verb {
		return control.Verb{Do: func(_ context.Context, _ control.Peer, args []byte) (any, error) {
			*asked = append(*asked, string(args))
			return result, err
		}}
	}
	const here, there = "10.0.0.1:80 of tcp 192.0.2.10:80", "10.0.0.1:80 of tcp 192.0.2.10:443"
	changed := control.Changed{Changed: true, Servers: []string{here, there}, Unchanged: []string{there}, Warning: "done, but"}
	s := &control.Server{UID: os.Getuid(), Verbs: map[string]control.Verb{
		"status": verb(st, nil), "drain": verb(changed, nil), "maintain": verb(changed, nil), "weight": verb(changed, nil),
		"enable": verb(nil, &control.Error{Code: control.NotFound, Message: "no such real server: x"}),
		"reload": verb(nil, &control.Error{Code: control.BadConfig, Message: "f.toml:3: bad\nf.toml:9: worse", Hint: "nothing was changed"}),
		"explain": verb(control.Explanation{Servers: []control.ExplainedServer{{Of: "web", ServerStatus: st.Services[0].Servers[0],
			Timeline: []control.Event{{Time: now, Event: "server_up", Text: "real server up", Facts: map[string]string{"was": "down", "for": "3s"}}}}}}, nil),
	}}
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = s.Serve(ctx, l); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return socket, asked
}

func TestDaemonVerbs(t *testing.T) {
	socket, asked := fakeDaemon(t)
	for _, tt := range []struct {
		line   string
		status int
		asked  string // arguments the daemon got
		out    []string
		errw   string
	}{
		{"status", 0, "", []string{"goipvsd 1, process 7, up 2d02h", "web  tcp 192.0.2.10:80 wlc  UP for 1m12s",
			"10.0.0.1:80                      up      1m12s  in        1       1       12      0         1s ago, 2.1 ms",
			"db.example.com:80 (10.0.0.2:80)", "timed out; weight 7 by ann: bigger"}, ""},
		{"status", 0, "", []string{"\n1 services, 1 UP; 2 real servers, 1 down\n"}, ""},
		{"status --problems", 0, "", []string{"\n1 services, 1 UP; 2 real servers, 1 down\n", "web  tcp"}, ""},
		{"status --problems --json", 0, "", []string{`"name": "web"`}, ""},
		{"status --json", 0, "", []string{`"name": "web"`, `"weight_kernel": 1`}, ""},
		{"drain --timeout 90s --reason disk 10.0.0.1", 0, `{"server":"10.0.0.1","reason":"disk","seconds":90}`,
			[]string{"drain 10.0.0.1:80 of tcp 192.0.2.10:80\nnothing to do for 10.0.0.1:80 of tcp 192.0.2.10:443\n"}, "goipvs: warning: done, but\n"},
		{"drain --json 10.0.0.1", 0, `{"server":"10.0.0.1"}`, []string{`"changed": true`, `"unchanged": [`}, ""},
		{"maintain --for 2h --service web 10.0.0.1", 0, `{"server":"10.0.0.1","service":"web","seconds":7200}`, []string{"maintain 10.0.0.1:80"}, "goipvs: warning: done, but\n"},
		{"weight 10.0.0.1 0", 0, `{"server":"10.0.0.1","weight":0}`, []string{"weight 10.0.0.1:80"}, "goipvs: warning: done, but\n"},
		{"enable x", 1, `{"server":"x"}`, nil, "goipvs: no such real server: x\n"},
		{"reload", 1, `{}`, nil, "goipvs: f.toml:3: bad\nf.toml:9: worse\ngoipvs: hint: nothing was changed\n"},
		{"reload --force", 1, `{"force":true}`, nil, "goipvs: f.toml:3: bad\nf.toml:9: worse\ngoipvs: hint: nothing was changed\n"},
		{"explain 10.0.0.1", 0, `{"subject":"10.0.0.1"}`, []string{"10.0.0.1:80 of web: up, in (healthy), weight 1 of 1, in the kernel 1",
			"check http: up, last ", "server_up        real server up (for 3s) (was down)"}, ""},

		{"top --once --sort active --lines 1", 0, "", []string{"1 services, 2 real servers, 1 of them down", "web      10.0.0.1:80  up      in     1       12"}, ""},
		{"top --sort size", 2, "-", nil, "--sort connections, active, bytes or weight"},
		{"status x", 2, "-", nil, "takes no arguments"},
		{"drain web 10.0.0.1 --reason disk", 0, `{"server":"10.0.0.1","service":"web","reason":"disk"}`,
			[]string{"drain 10.0.0.1:80 of tcp 192.0.2.10:80\n"}, "goipvs: warning: done, but\n"},
		{"drain", 2, "-", nil, "takes a SERVER"},
		{"drain a b c", 2, "-", nil, "takes a SERVER"},
		{"drain --service a b c", 2, "-", nil, "takes a SERVER"},
		{"drain --timeout 0s a", 2, "-", nil, "a time above 0"},
		{"maintain --for 5 a", 2, "-", nil, "goipvs maintain: --for 5: a time above 0, with its unit: 90s, 2h, 14d"},
		{"weight a", 2, "-", nil, "and a WEIGHT"},
		{"weight a -1", 2, "-", nil, "-1"},
		{"weight a many", 2, "-", nil, "a number from 0 to"},
		{"weight a 2147483648", 2, "-", nil, "a number from 0 to"},
		{"reload x", 2, "-", nil, "takes no arguments"},
		{"explain", 2, "-", nil, "takes one SERVICE or SERVER"},
		{"maintain --for soon a", 2, "-", nil, "soon"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			*asked = nil
			words := strings.Fields(tt.line)
			args := append([]string{"goipvs", words[0], "--socket", socket}, words[1:]...)
			var out, errw strings.Builder
			if got := Run(args, "test", strings.NewReader(""), &out, &errw); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			if got := strings.Join(*asked, " "); tt.asked == "-" && len(*asked) > 0 || tt.asked != "-" && got != tt.asked {
				t.Errorf("the daemon was asked %q, want %q", got, tt.asked)
			}
			for _, want := range tt.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
			if tt.status == 2 && !strings.Contains(errw.String(), tt.errw) || tt.status != 2 && errw.String() != tt.errw {
				t.Errorf("stderr %q, want %q", &errw, tt.errw)
			}
			if strings.Contains(tt.line, "--json") && !json.Valid([]byte(out.String())) {
				t.Error("not JSON")
			}
		})
	}
}

// TestWatchWaits: a daemon that is restarted does not end --watch.
func TestWatchWaits(t *testing.T) {
	for _, words := range []string{"status --watch", "status --watch --json", "top"} {
		t.Run(words, func(t *testing.T) {
			socket, _ := fakeDaemon(t)
			elsewhere, out := socket+".away", &fullDisk{room: 1 << 20}
			var errs strings.Builder
			status := make(chan int, 1)
			out.hear = func(times int) {
				switch times { // that it was shown
				case 1:
					_ = os.Rename(socket, elsewhere)
					time.AfterFunc(1500*time.Millisecond, func() { _ = os.Rename(elsewhere, socket) })
				case 2:
					out.room = 0
				}
			}
			go func() {
				status <- Run(append([]string{"goipvs"}, append(strings.Fields(words), "--socket", socket)...), "test", strings.NewReader(""), out, &errs)
			}()
			if got := <-status; got != failed || strings.Count(errs.String(), "does not run") != 1 {
				t.Errorf("status %d, %q", got, errs.String())
			}
		})
	}
}

// TestNoDaemon: it is said how to start one.
func TestNoDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	var out, errw strings.Builder
	if status := Run([]string{"goipvs", "status", "--socket", socket}, "test", nil, &out, &errw); status != 1 {
		t.Error(status)
	}
	want := fmt.Sprintf("goipvs: goipvsd does not run: nobody listens on %s\ngoipvs: hint: systemctl start goipvsd, or goipvsd start\n", socket)
	if errw.String() != want || out.String() != "" {
		t.Errorf("%q", errw.String())
	}
}
