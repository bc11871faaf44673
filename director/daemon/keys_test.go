package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director/alert"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// logOf runs a daemon that makes its own log until one server is down and a
// reload has given another log_level.
func logOf(t *testing.T, keys, later string) string {
	f := newFixture(t, 2)
	text := f.text(keys)
	f.write(text)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done, out := make(chan struct{}), make(chan error, 1), &buffer{}
	go func() {
		done <- Run(ctx, Options{Config: f.path("goipvs.toml"), Version: "test", Kernel: f.kernel, LogTo: out, Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	f.has(0, "1")
	f.has(1, "1")
	f.servers[1].Close()
	f.has(1, "0")
	f.write(strings.Replace(text, keys, later, 1))
	f.reload("", "")
	f.servers[0].Close()
	f.has(0, "0")
	cancel()
	f.must(<-done)
	return out.String()
}

// TestLogKeys: log_level says what is logged, also after a reload, and
// log_format how.
func TestLogKeys(t *testing.T) {
	text := logOf(t, "log_level = \"debug\"\nlog_format = \"json\"\n", "log_level = \"error\"\nlog_format = \"json\"\n")
	events := map[string]int{}
	for line := range strings.Lines(text) {
		var record struct{ Level, Event, RS string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events[record.Level+" "+record.Event]++
	}
	if events["DEBUG kernel_changed"] == 0 || events["WARN server_down"] != 1 {
		t.Errorf("events %v", events)
	}
	text = logOf(t, "log_level = \"warn\"\n", "log_level = \"info\"\n")
	if strings.Contains(text, "event=server_up") || strings.Count(text, "event=server_down") != 2 || strings.Contains(text, "level=DEBUG") || !strings.Contains(text, "event=stopped") {
		t.Errorf("log:\n%s", text)
	}
}

// TestFixedKeys: what only a restart can change is refused by a reload, not
// passed over, with file and line, and all of it at once.
func TestFixedKeys(t *testing.T) {
	f := newFixture(t, 1)
	good := f.text("")
	f.write(good)
	f.start()
	file := f.path("goipvs.toml")
	for where, text := range map[string]string{
		":1: control was":       strings.Replace(good, "/sock", "/sock2", 1),
		":2: control_group was": strings.Replace(good, `control_group = ""`, `control_group = "daemon"`, 1),
		":3: state_dir was":     strings.Replace(good, "/state", "/state2", 1),
		":1: log_format was":    "log_format = \"json\"\n" + good,
		": state_dir was":       strings.Replace(good, "state_dir", "#", 1), // it is the default now
	} {
		f.write(text)
		f.reload(control.BadConfig, file+where)
	}
	f.write(strings.NewReplacer("/sock", "/sock2", "/state", "/state2").Replace(good))
	f.reload(control.BadConfig, file+":1: control was")
	f.reload(control.BadConfig, file+":3: state_dir was")
}

// TestControlGroup: the socket is its group's, which may write to it, and nobody
// else's.
func TestControlGroup(t *testing.T) {
	g, err := user.LookupGroup("daemon")
	if os.Getuid() != 0 || err != nil { // else only our own can be given
		if g, err = user.LookupGroupId(strconv.Itoa(os.Getgid())); err != nil {
			t.Fatal(err)
		}
	}
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text(""), `control_group = ""`, fmt.Sprintf("control_group = %q", g.Name), 1))
	f.start()
	info, err := os.Stat(f.path("sock"))
	f.must(err)
	if gid := info.Sys().(*syscall.Stat_t).Gid; strconv.Itoa(int(gid)) != g.Gid || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket is of group %d, mode %v", gid, info.Mode())
	}
}

// TestDriftKeys: on_drift and reconcile say what becomes of what others change.
func TestDriftKeys(t *testing.T) {
	for keys, repaired := range map[string]bool{"reconcile = \"50ms\"\n": true, "on_drift = \"report\"\nreconcile = \"50ms\"\n": false, "reconcile = \"0s\"\n": false} {
		f := newFixture(t, 2)
		f.write(f.text(keys))
		f.start()
		f.has(0, "1")
		f.has(1, "1")
		others := f.kernel.Other()
		list, err := others.Services()
		f.must(err)
		s := list[0].Service
		dests, err := others.Destinations(s.ServiceKey, nil)
		f.must(err)
		d := dests[0].Destination
		d.Weight = 77
		f.must(others.Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: s, Destination: d}))
		if strings.Contains(keys, "report") {
			f.await("the drift is told", func() bool { return strings.Contains(f.log.String(), "event=drift") })
		}
		if repaired {
			f.await("it is repaired", func() bool { return !strings.Contains(f.kernel.String(), "weight 77") })
		} else {
			time.Sleep(300 * time.Millisecond) // six rounds in which nothing must happen
			if !strings.Contains(f.kernel.String(), "weight 77") {
				t.Errorf("%s: what others changed was undone", keys)
			}
		}
		f.stop()
	}
}

// TestUncheckedKey: a server whose first check takes its time is in the table or
// it is not.
func TestUncheckedKey(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connections are opened, and nobody says anything
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for unchecked, want := range map[string]bool{"up": true, "down": false} {
		f := newFixture(t, 1)
		f.write(f.text(fmt.Sprintf("unchecked = %q\n", unchecked)) + fmt.Sprintf(
			"[[virtual]]\naddress = \"192.0.2.2:80\"\nforward = \"nat\"\n[virtual.check]\ntype = \"tcp\"\nreceive = \"hello\"\ntimeout = \"1h\"\n[[virtual.real]]\naddress = %q\n", l.Addr()))
		f.start()
		f.has(0, "1") // of the other service: a round is over
		if got := strings.Contains(f.kernel.String(), l.Addr().String()+" nat weight 1"); got != want {
			t.Errorf("unchecked = %q: in the table: %v\n%s", unchecked, got, f.kernel)
		}
		f.stop()
	}
}

// TestFallbackCommand: it runs when the fallback comes into use and when it
// leaves, with the word for it, and no more often.
func TestFallbackCommand(t *testing.T) {
	f := newFixture(t, 1)
	out := f.path("out")
	f.write(strings.Replace(f.text(""), "scheduler = ", fmt.Sprintf("fallback = [\"192.0.2.99:80\"]\nfallback_command = [\"/bin/sh\", \"-c\", \"echo $1 $2 >> %s\", \"sh\", \"mine\"]\nscheduler = ", out), 1))
	f.start()
	f.has(0, "1")
	addr := f.servers[0].Addr().String()
	f.servers[0].Close()
	f.has(0, "0")
	f.listen(addr)
	f.has(0, "1")
	const want = "mine start\nmine stop\n"
	f.await("both are told", func() bool { b, _ := os.ReadFile(out); return len(b) >= len(want) })
	f.reload("", "")
	if b, _ := os.ReadFile(out); string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

// TestCommandUser: commands of checks, of alerts and of what comes up and goes down
// run as another user than the daemon.
func TestCommandUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	f := newFixture(t, 1)
	for dir := f.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		f.must(os.Chmod(dir, 0o755))
	}
	out := f.path("out")
	f.must(os.Mkdir(out, 0o755))
	f.must(os.Chown(out, 65534, 65534))
	run := func(name, more string) string {
		return fmt.Sprintf("[\"/bin/sh\", \"-c\", \"echo $(id -u) $(id -g) > %s/%s; %s\"]\n", out, name, more)
	}
	text := f.text("command_user = \"65534:12345\"\n")
	text = strings.Replace(text, "type = \"connect\"\n", "type = \"external\"\ncommand = "+run("check", "exit 1"), 1)
	text = strings.Replace(text, "scheduler = ", "fallback = [\"192.0.2.99:80\"]\nnotify_down = "+run("notify", "")+"fallback_command = "+run("fallback", "")+"scheduler = ", 1)
	f.write(strings.Replace(text, "[check]", "[alert]\ncommand = "+run("alert", "")+"[check]", 1))
	f.start()
	for _, name := range []string{"check", "notify", "fallback", "alert"} {
		var b []byte
		f.await("the command of "+name+" ran", func() bool { b, _ = os.ReadFile(filepath.Join(out, name)); return len(b) > 0 })
		if string(b) != "65534 12345\n" {
			t.Errorf("%s ran as %q", name, b)
		}
	}
}

// TestDynamicWeight: the weight is what the check's status says, also after a
// reload and over a restart, for as long as it is said.
func TestDynamicWeight(t *testing.T) {
	f := newFixture(t, 1)
	say := func(status string) {
		f.must(os.WriteFile(f.path("new"), []byte(status+"\n"), 0o600))
		f.must(os.Rename(f.path("new"), f.path("status")))
	}
	say("12")
	text := strings.Replace(f.text(""), "type = \"connect\"\n", fmt.Sprintf("type = \"external\"\ndynamic_weight = true\ncommand = [\"/bin/sh\", \"-c\", \"read n < %s; exit $n\", \"sh\"]\n", f.path("status")), 1)
	f.write(text)
	f.start()
	f.has(0, "10")
	say("2")
	f.has(0, "0")
	say("202")
	f.has(0, "200")
	f.must(f.do("weight", control.ServerArgs{Server: f.servers[0].Addr().String(), Weight: new(int32(5))}, nil))
	f.has(0, "5")
	f.must(f.do("enable", control.ServerArgs{Server: f.servers[0].Addr().String()}, nil))
	f.has(0, "200")
	say("1")
	f.has(0, "0")
	say("202")
	f.has(0, "200")
	f.reload("", "")
	f.has(0, "200")
	f.stop()
	var mu sync.Mutex
	var calls []string
	f.kernel.OnCall(func(c ipvstest.Call) { mu.Lock(); defer mu.Unlock(); calls = append(calls, fmt.Sprint(c)) })
	f.start()
	f.await("it was checked", func() bool {
		var st control.Status
		f.must(f.do("status", nil, &st))
		return st.Services[0].Servers[0].Verdict == "up"
	})
	mu.Lock()
	for _, c := range calls {
		if strings.Contains(c, f.servers[0].Addr().String()) {
			t.Errorf("the restart changed the server: %s", c)
		}
	}
	if len(calls) == 0 {
		t.Error("the restart did not even look at the kernel")
	}
	mu.Unlock()
	say("0")
	f.has(0, "1")
}

// TestNotifyKeys: programs are run when servers and services come up and go down,
// in order, each told what of, and by no reload; a program that hangs is nobody
// else's trouble.
func TestNotifyKeys(t *testing.T) {
	f := newFixture(t, 2)
	out := f.path("out")
	tell := func(who string) string {
		const line = `notify_%[1]s = ["/bin/sh", "-c", "echo %[2]s $GOIPVS_EVENT $GOIPVS_VIRTUAL $GOIPVS_REAL >> %[3]s"]` + "\n"
		return fmt.Sprintf(line, "up", who, out+"-"+who) + fmt.Sprintf(line, "down", who, out+"-"+who)
	}
	text := f.text("")
	first := fmt.Sprintf("address = %q\n", f.servers[0].Addr())
	second := fmt.Sprintf("address = %q\n", f.servers[1].Addr())
	text = strings.Replace(text, "scheduler = ", tell("service")+"scheduler = ", 1)
	text = strings.Replace(text, first, first+tell("first"), 1)
	text = strings.Replace(text, second, second+"notify_down = [\"/bin/sleep\", \"1000\"]\n", 1)
	f.write(text)
	f.start()
	f.has(0, "1")
	f.has(1, "1")
	f.servers[1].Close()
	f.has(1, "0")
	addr := f.servers[0].Addr().String()
	f.servers[0].Close()
	f.has(0, "0")
	f.reload("", "")
	f.listen(addr)
	f.has(0, "1")
	for who, want := range map[string]string{
		"service": "service up web\nservice down web\nservice up web\n",
		"first":   strings.ReplaceAll("first up web A\nfirst down web A\nfirst up web A\n", "A", addr),
	} {
		var b []byte
		f.await("all is told of the "+who, func() bool { b, _ = os.ReadFile(out + "-" + who); return len(b) >= len(want) })
		if string(b) != want {
			t.Errorf("%q, want %q", b, want)
		}
	}
	f.write(strings.Replace(text, "scheduler = ", "quorum_hysteresis = 1\nscheduler = ", 1))
	f.reload("bad_config", "goipvs.toml:13: quorum_hysteresis: 1 is not less than quorum, 1")
}

// TestOnStopKeys: the services stay or go with the daemon, those of others stay.
func TestOnStopKeys(t *testing.T) {
	for mode, want := range map[string]bool{"keep": true, "flush": false, "drain": false} {
		f := newFixture(t, 1)
		theirs := ipvs.Service{ServiceKey: ipvs.MarkService(9, ipvs.IPv4), Scheduler: "rr"}
		f.must(f.kernel.Other().Do(ipvs.Change{Op: ipvs.AddService, Service: theirs}))
		f.write(f.text(fmt.Sprintf("on_stop = %q\n", mode)))
		f.start()
		f.has(0, "1")
		f.stop()
		text, err := ipvstest.Text(f.kernel)
		f.must(err)
		if strings.Contains(text, "192.0.2.1:80") != want || !strings.Contains(text, "fwmark 9") {
			t.Errorf("on_stop = %q left\n%s", mode, text)
		}
	}
}

// TestAlertKeys: what the file says of alerts is what they are sent by. What each
// does is proven in package alert.
func TestAlertKeys(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("x y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("goipvs.toml", []byte("[alert]\non = [\"down\", \"drift\"]\ncommand = [\"/bin/true\", \"x\"]\nwebhook = \"https://hook.test/a\"\nmail_to = [\"a@b.test\"]\nmail_from = \"c@d.test\"\nsmtp = \"mx.test:25\"\nsmtp_ca = \"/ca.pem\"\nrepeat = \"1h\"\n"+
		"smtp_login = \"ann\"\nsmtp_password_file = \""+secret+"\"\nsmtp_cert = \"/cert.pem\"\nsmtp_key = \"/key.pem\"\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := alert.Config{On: []string{"down", "drift"}, Command: []string{"/bin/true", "x"}, Webhook: "https://hook.test/a",
		MailTo: []string{"a@b.test"}, MailFrom: "c@d.test", SMTP: "mx.test:25", CA: "/ca.pem", Repeat: time.Hour,
		Login: "ann", Password: "x y", Cert: "/cert.pem", Key: "/key.pem"}
	if diff := cmp.Diff(want, alertConfig(c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
