package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"golang.org/x/sys/unix"
)

// fixture is a daemon on a kernel in memory, with real servers on loopback.
type fixture struct {
	*testing.T
	dir     string
	kernel  *ipvstest.Kernel
	signals chan os.Signal
	log     *buffer
	done    chan error
	cancel  context.CancelFunc
	servers []net.Listener
	nat     SourceNAT // nil: this machine's
}

type buffer = testserver.Buffer

func newFixture(t *testing.T, servers int) *fixture {
	f := &fixture{T: t, dir: t.TempDir(), kernel: ipvstest.New(ipvstest.Options{}), signals: make(chan os.Signal, 64), log: &buffer{}}
	for range servers {
		f.servers = append(f.servers, f.listen(fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))))
	}
	t.Cleanup(func() {
		f.stop()
		if t.Failed() {
			t.Logf("%s", f.log)
		}
	})
	return f
}

// listen is a real server that takes connections and says nothing.
func (f *fixture) listen(addr string) net.Listener {
	l, err := net.Listen("tcp", addr)
	f.must(err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	f.Cleanup(func() { l.Close() })
	return l
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// text is a file with one service of all real servers and more.
func (f *fixture) text(more string) string {
	s := fmt.Sprintf("control = %q\ncontrol_group = \"\"\nstate_dir = %q\nhold_on_mass_failure = 1.0\n%s[check]\ninterval = \"100ms\"\ntimeout = \"2s\"\n",
		f.path("sock"), f.path("state"), more)
	return s + f.virtual("web", "192.0.2.1:80")
}

func (f *fixture) virtual(name, vip string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "[[virtual]]\nname = %q\naddress = %q\nscheduler = \"wlc\"\nforward = \"nat\"\n[virtual.check]\ntype = \"connect\"\n", name, vip)
	for _, l := range f.servers {
		fmt.Fprintf(&s, "[[virtual.real]]\naddress = %q\n", l.Addr())
	}
	return s.String()
}

func (f *fixture) write(text string) {
	f.Helper()
	f.must(os.WriteFile(f.path("goipvs.toml"), []byte(text), 0o600))
}

func (f *fixture) start() {
	f.Helper()
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan error, 1)
	go func() {
		f.done <- Run(ctx, Options{Config: f.path("goipvs.toml"), Version: "test", Kernel: f.kernel, SourceNAT: f.nat, Signals: f.signals,
			Log: slog.New(slog.NewTextHandler(f.log, nil)), Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-f.done:
		f.done <- err
		f.Fatal("did not start: ", err)
	case <-time.After(30 * time.Second):
		f.Fatal("did not start")
	}
}

func (f *fixture) stop() {
	if f.cancel == nil {
		return
	}
	f.cancel()
	if err := <-f.done; err != nil {
		f.Error("stopped with: ", err)
	}
	f.cancel = nil
}

func (f *fixture) await(what string, ok func() bool) {
	f.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("waited in vain until %s; the kernel has\n%s", what, f.kernel)
		}
	}
}

// has waits until the kernel says so of the n-th real server; "" is absent.
func (f *fixture) has(n int, weight string) {
	f.Helper()
	addr := f.servers[n].Addr().String()
	f.await(addr+" has weight "+weight, func() bool {
		text := f.kernel.String()
		return strings.Contains(text, addr+" nat weight "+weight) || weight == "" && !strings.Contains(text, addr)
	})
}

func (f *fixture) do(verb string, args, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := control.Dial(ctx, f.path("sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(ctx, verb, args, result)
}

func (f *fixture) reload(code control.Code, text string) {
	f.Helper()
	err := f.do("reload", control.ReloadArgs{}, nil)
	var own *control.Error
	switch {
	case code == "" && err != nil:
		f.Errorf("reload: %v", err)
	case code != "" && (!errors.As(err, &own) || own.Code != code || !strings.Contains(own.Message, text)):
		f.Errorf("reload: %v, want %s: %s", err, code, text)
	}
}

// TestBadFiles: whatever becomes of the file, the daemon goes on with the
// configuration it has, still sees servers die (ldirectord goes blind), says
// what is wrong with file and line, and takes a good file again.
func TestBadFiles(t *testing.T) {
	f := newFixture(t, 2)
	good := f.text("")
	f.write(good)
	f.start()
	f.has(0, "1")
	f.has(1, "1")
	file := f.path("goipvs.toml")
	cases := []struct {
		name, text string
		do         func()
	}{
		{"a syntax error", "goipvs.toml:1: ", func() { f.write("what is this\n" + good) }},
		{"an unknown key", "goipvs.toml:4: ", func() { f.write(strings.Replace(good, "hold_on", "reconcil = \"1s\"\nhold_on", 1) + "") }},
		{"truncated in the middle", "goipvs.toml:", func() { f.write(good[:len(good)-9]) }},
		{"emptied", "empty", func() { f.write("") }},
		{"gone", "no such file", func() { f.must(os.Remove(file)) }},
		{"a directory", "", func() { f.must(os.RemoveAll(file)); f.must(os.Mkdir(file, 0o700)) }},
		{"a FIFO", "", func() { f.must(os.RemoveAll(file)); f.must(unix.Mkfifo(file, 0o600)) }},
		{"a gigabyte", "", func() {
			f.must(os.RemoveAll(file))
			f.write("")
			f.must(os.Truncate(file, 1<<30))
		}},
		{"a check that cannot be made", "goipvs.toml:", func() {
			f.must(os.RemoveAll(file))
			f.write(strings.Replace(good, `type = "connect"`, "type = \"https\"\nca = \"/nonexistent\"", 1))
		}},
		{"another control socket", "restart", func() { f.write(strings.Replace(good, "/sock", "/sock2", 1)) }},
		{"a name that nobody knows", "cannot be resolved", func() { f.write(good + "[[virtual.real]]\naddress = \"nosuch.invalid:80\"\n") }},
	}
	for _, c := range cases {
		c.do()
		f.reload(control.BadConfig, c.text)
	}
	f.servers[1].Close()
	f.has(1, "0")
	f.has(0, "1")
	var st control.Status
	f.must(f.do("status", nil, &st))
	if st.Reload == nil || st.Reload.Error == "" {
		t.Error("status does not tell that the reload failed")
	}
	f.write(good + f.virtual("more", "192.0.2.2:80"))
	f.reload("", "")
	f.await("the new service is there", func() bool { return strings.Contains(f.kernel.String(), "192.0.2.2:80") })
	st = control.Status{}
	f.must(f.do("status", nil, &st))
	if st.Reload.Error != "" {
		t.Error("status still tells of a failed reload")
	}
}

// TestBigRemoval: a file that lacks more services than usual is a mistake until
// somebody insists.
func TestBigRemoval(t *testing.T) {
	f := newFixture(t, 1)
	f.write(f.text("") + f.virtual("b", "192.0.2.2:80") + f.virtual("c", "192.0.2.3:80"))
	f.start()
	f.await("all are there", func() bool { return strings.Count(f.kernel.String(), "192.0.2.") == 3 })
	f.write(f.text(""))
	f.reload(control.Refused, "removes 2 of 3 services")
	if n := strings.Count(f.kernel.String(), "192.0.2."); n != 3 {
		t.Errorf("%d services are left", n)
	}
	f.must(f.do("reload", control.ReloadArgs{Force: true}, nil))
	f.await("two are gone", func() bool { return strings.Count(f.kernel.String(), "192.0.2.") == 1 })
}

// TestHangupStorm: ten thousand SIGHUPs are few reloads, and the last of them
// reads the file as it is then.
func TestHangupStorm(t *testing.T) {
	f := newFixture(t, 1)
	f.write(f.text(""))
	f.start()
	f.has(0, "1")
	for i := range 10000 {
		if i == 9999 {
			f.write(f.text("") + f.virtual("last", "192.0.2.9:80"))
		}
		f.signals <- unix.SIGHUP
	}
	f.await("the last file is in force", func() bool { return strings.Contains(f.kernel.String(), "192.0.2.9:80") })
	f.has(0, "1")
	if n := strings.Count(f.log.String(), "event=reloaded"); n > 9000 {
		t.Errorf("%d reloads for 10000 signals: none was spared", n)
	}
}

// hang has the kernel not answer the director's next question, and returns when it
// has been asked. release lets it answer.
func (f *fixture) hang() (release func()) {
	hung, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.kernel.OnCall(func(c ipvstest.Call) {
		if c.Op == "list services" {
			once.Do(func() { close(hung) })
			<-answer
		}
	})
	<-hung
	release = sync.OnceFunc(func() { close(answer) })
	f.Cleanup(release) // or a test that fails would not end
	return release
}

// TestHangupsWhileReloading: wishes for a reload that come in while one is under
// way are one more.
func TestHangupsWhileReloading(t *testing.T) {
	f := newFixture(t, 1)
	f.write(f.text(""))
	f.start()
	f.has(0, "1")
	release := f.hang()
	for range 12 {
		f.signals <- unix.SIGHUP
	}
	f.await("all are heard", func() bool { return len(f.signals) == 0 })
	release()
	f.reload("", "")
	// The one under way, one for those that wait, one that was heard just now, ours.
	if n := strings.Count(f.log.String(), "event=reloaded"); n > 4 {
		t.Errorf("%d reloads", n)
	}
}

// TestAutoreload: a change of the contents counts, however the file is replaced
// and also while the one before is being put in place, a touch does not, and a
// broken file is not taken.
func TestAutoreload(t *testing.T) {
	f := newFixture(t, 1)
	good := f.text("autoreload = true\n")
	f.write(good)
	f.start()
	f.has(0, "1")
	f.must(os.Chtimes(f.path("goipvs.toml"), time.Now(), time.Now()))
	f.kernel.OnCall(func(c ipvstest.Call) {
		if c.Op == "add service" && strings.Contains(c.Object, "192.0.2.2:80") {
			f.write(good + "nonsense")
		}
	})
	f.must(os.WriteFile(f.path("new"), []byte(good+f.virtual("renamed", "192.0.2.2:80")), 0o600))
	f.must(os.Rename(f.path("new"), f.path("goipvs.toml")))
	f.await("the renamed file is in force", func() bool { return strings.Contains(f.kernel.String(), "192.0.2.2:80") })
	f.await("the broken file is named", func() bool { return strings.Contains(f.log.String(), "event=reload_failed") })
	f.write(good + f.virtual("written", "192.0.2.3:80"))
	f.await("the written file is in force", func() bool { return strings.Contains(f.kernel.String(), "192.0.2.3:80") })
	reloads := func() int { return strings.Count(f.log.String(), "event=reloaded") }
	f.await("it is told", func() bool { return reloads() >= 2 })
	if n := reloads(); n != 2 {
		t.Errorf("%d reloads, want 2: the touch was none", n)
	}
}

// TestMaintenanceFolder: ldirectord's maintenancedir.
func TestMaintenanceFolder(t *testing.T) {
	f := newFixture(t, 2)
	f.must(os.Mkdir(f.path("maintenance"), 0o700))
	f.write(f.text(fmt.Sprintf("maintenance_dir = %q\n", f.path("maintenance"))))
	f.start()
	f.has(0, "1")
	f.has(1, "1")
	name := filepath.Join(f.path("maintenance"), f.servers[0].Addr().String())
	f.must(os.WriteFile(name, nil, 0o600))
	f.has(0, "0")
	f.has(1, "1")
	f.must(os.Remove(name))
	f.has(0, "1")
}

// TestFallCountsChecksNotServices: a server of two services is checked once, and
// its failures count once (ldirectord counts them for each service).
func TestFallCountsChecksNotServices(t *testing.T) {
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text("")+f.virtual("b", "192.0.2.2:80"), "[check]\n", "[check]\nfall = 3\n", 1))
	f.start()
	f.await("both have it", func() bool { return strings.Count(f.kernel.String(), " nat weight 1") == 2 })
	f.servers[0].Close()
	f.await("both have quiesced it", func() bool { return strings.Count(f.kernel.String(), " nat weight 0") == 2 })
	var st control.Status
	f.must(f.do("status", nil, &st))
	for _, v := range st.Services {
		if c := v.Servers[0].Checks[0]; c.Failures < 3 {
			t.Errorf("%s: down after %d failures, want 3", v.Name, c.Failures)
		}
	}
}

// TestDeadNeverGetsTraffic: neither a start nor a reload gives a dead server a
// weight, not for a moment (ldirectord and keepalived do).
func TestDeadNeverGetsTraffic(t *testing.T) {
	f := newFixture(t, 2)
	dead := f.servers[1].Addr().String()
	f.servers[1].Close()
	bad := make(chan string, 1000)
	f.kernel.OnCall(func(c ipvstest.Call) {
		if strings.Contains(c.Object, dead) && strings.Contains(f.kernel.Other().String(), dead+" nat weight 1") {
			bad <- c.Op
		}
	})
	f.write(f.text(""))
	f.start()
	f.has(0, "1")
	f.has(1, "0")
	for range 20 {
		f.reload("", "")
	}
	f.stop()
	f.start()
	f.has(1, "0")
	f.await("it was checked some more", func() bool {
		var st control.Status
		f.must(f.do("status", nil, &st))
		checks := st.Services[0].Servers[1].Checks // none until the runner has them
		return len(checks) > 0 && checks[0].Failures >= 3
	})
	f.has(1, "0")
	if len(bad) > 0 || strings.Contains(f.kernel.String(), dead+" nat weight 1") {
		t.Error("the dead server had weight 1")
	}
}

// TestSecondDaemon: the socket has one daemon.
func TestSecondDaemon(t *testing.T) {
	f := newFixture(t, 1)
	f.write(f.text(""))
	f.start()
	err := Run(context.Background(), Options{Config: f.path("goipvs.toml"), Kernel: f.kernel, Log: slog.New(slog.DiscardHandler)})
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("%v", err)
	}
	place, err := PlaceOf(f.path("goipvs.toml"))
	f.must(err)
	if pid, is := place.Holder(); !is || pid != os.Getpid() {
		t.Error(pid, is)
	}
	f.must(f.do("status", nil, nil))
	f.stop()
	if _, is := place.Holder(); is {
		t.Error("held by nobody")
	}
}

// TestSecondDaemonOfState: one that has another control socket and the same
// state_dir would take the first one's services for its own that left the file. It
// is refused; and the daemon of a file whose control was changed since is found.
func TestSecondDaemonOfState(t *testing.T) {
	f := newFixture(t, 1)
	f.write(f.text(""))
	f.start()
	second := strings.Replace(f.text(""), f.path("sock"), f.path("sock2"), 1)
	f.must(os.WriteFile(f.path("other.toml"), []byte(second), 0o600))
	err := Run(context.Background(), Options{Config: f.path("other.toml"), Kernel: f.kernel, Log: slog.New(slog.DiscardHandler)})
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() || running.Config != f.path("goipvs.toml") || !strings.Contains(Hint(err), "a state_dir of its own") {
		t.Errorf("%v", err)
	}
	for file, want := range map[string]bool{"goipvs.toml": true, "other.toml": false} {
		f.must(os.WriteFile(f.path(file), []byte(second), 0o600))
		place, err := PlaceOf(f.path(file))
		f.must(err)
		if pid, is := place.Holder(); is != want || want && pid != os.Getpid() {
			t.Errorf("%s, whose control is another one: process %d runs: %v", file, pid, is)
		}
	}
}

// TestControlIsNoFile: a slip in control does not cost the file that is there.
func TestControlIsNoFile(t *testing.T) {
	f := newFixture(t, 1)
	f.must(os.WriteFile(f.path("sock"), []byte("precious"), 0o600))
	f.write(f.text(""))
	err := Run(context.Background(), Options{Config: f.path("goipvs.toml"), Kernel: f.kernel, Log: slog.New(slog.DiscardHandler)})
	if b, _ := os.ReadFile(f.path("sock")); err == nil || !strings.Contains(err.Error(), "is no socket") || string(b) != "precious" {
		t.Errorf("%v, and the file has %q", err, b)
	}
}

// TestPlaceOf: the daemon is found whatever happened to its file, and where that
// says nothing at all this is told.
func TestPlaceOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "goipvs.toml")
	const state = "/var/lib/goipvs"
	for text, want := range map[string]Place{
		"control = \"/a/b\"\n":               {Control: "/a/b", StateDir: state},
		"  control='/c'\nbroken":             {Control: "/c", StateDir: state},
		"state_dir = \"/d\"\nbroken":         {Control: control.DefaultSocket, StateDir: "/d"},
		"":                                   {Control: control.DefaultSocket, StateDir: state},
		"broken":                             {Control: control.DefaultSocket, StateDir: state},
		"# control = \"/no\"\n[":             {Control: control.DefaultSocket, StateDir: state},
		"#\xef\ncontrol = \"/e\"\nreconcile": {Control: "/e", StateDir: state},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want.config = path
		if got, err := PlaceOf(path); got != want || (err == nil) != (text != "") {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	if got, err := PlaceOf("/nonexistent"); got.Control != control.DefaultSocket || err == nil {
		t.Error(got, err)
	}
}

// TestOverridesSurvive: what an operator said is kept over a restart, and what
// is nonsense is refused.
func TestOverridesSurvive(t *testing.T) {
	f := newFixture(t, 2)
	f.write(f.text(""))
	f.start()
	f.has(0, "1")
	f.has(1, "1")
	w := int32(42)
	var changed control.Changed
	f.must(f.do("weight", control.ServerArgs{Server: f.servers[0].Addr().String(), Weight: &w, Reason: "big\nbox"}, &changed))
	f.has(0, "42")
	f.stop()
	f.start()
	f.has(0, "42")
	var st control.Status
	f.must(f.do("status", nil, &st))
	if o := st.Services[0].Servers[0].Override; o == nil || o.Reason != "big box" || o.By == "" || *o.Weight != 42 {
		t.Errorf("%+v", o)
	}
	minus := int32(-1)
	for _, a := range []struct {
		verb string
		args any
		code control.Code
	}{
		{"weight", control.ServerArgs{Server: "127.0.0.1", Weight: &minus}, control.BadArgs},
		{"weight", control.ServerArgs{Server: "127.0.0.1"}, control.BadArgs},
		{"drain", control.ServerArgs{Server: "127.0.0.1", Weight: &w}, control.BadArgs},
		{"drain", control.ServerArgs{}, control.BadArgs},
		{"drain", control.ServerArgs{Server: "127.0.0.1", Seconds: -1}, control.BadArgs},
		{"drain", control.ServerArgs{Server: "127.0.0.1", Seconds: 1e300}, control.BadArgs},
		{"drain", control.ServerArgs{Server: "10.0.0.99"}, control.NotFound},
		{"drain", map[string]any{"server": "127.0.0.1", "force": true}, control.BadArgs},
		{"status", map[string]any{"x": 1}, control.BadArgs},
		{"explain", control.ExplainArgs{}, control.BadArgs},
		{"explain", control.ExplainArgs{Subject: "nobody"}, control.NotFound},
	} {
		var own *control.Error
		if err := f.do(a.verb, a.args, nil); !errors.As(err, &own) || own.Code != a.code {
			t.Errorf("%s %+v: %v, want %s", a.verb, a.args, err, a.code)
		}
	}
	f.must(f.do("enable", control.ServerArgs{Server: "127.0.0.1"}, &changed))
	f.has(0, "1")
}

// TestAlertsEndToEnd: a server that dies and comes back is told of, again while it
// is down; its first success is not, and neither is an event nobody asked for.
func TestAlertsEndToEnd(t *testing.T) {
	f := newFixture(t, 2)
	out := f.path("out")
	f.write(f.text("") + "[alert]\non = [\"down\", \"up\"]\ncommand = [\"/bin/sh\", \"-c\", \"echo $GOIPVS_EVENT $GOIPVS_VIRTUAL $GOIPVS_REAL >> " + out + "\"]\nrepeat = \"1s\"\n")
	f.start()
	f.has(0, "1")
	f.has(1, "1")
	addr := f.servers[0].Addr().String()
	f.servers[0].Close()
	f.has(0, "0")
	lines := func() []string {
		b, _ := os.ReadFile(out)
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	f.await("it is told again", func() bool { return len(lines()) >= 2 })
	f.listen(addr)
	f.has(0, "1")
	down, up := "down web "+addr, "up web "+addr
	f.await("its end is told", func() bool { return slices.Contains(lines(), up) })
	if got := slices.Compact(lines()); !slices.Equal(got, []string{down, up}) {
		t.Errorf("%q, want %q again and again, and then %q", got, down, up)
	}
}

// TestAlertsOfServices: who asks for it is told of a service that is down and up
// again, and of a kernel without IPVS; that a service is up at the start is no
// recovery.
func TestAlertsOfServices(t *testing.T) {
	f := newFixture(t, 1)
	out := f.path("out")
	f.write(strings.Replace(f.text("reconcile = \"100ms\"\n"), "[check]", "[alert]\non = [\"service\", \"kernel\"]\ncommand = [\"/bin/sh\", \"-c\", \"echo $GOIPVS_EVENT $GOIPVS_NAME $GOIPVS_VIRTUAL >> "+out+"\"]\n[check]", 1))
	f.start()
	f.has(0, "1")
	want := ""
	tells := func(line string) {
		t.Helper()
		want += line + "\n"
		f.await("it is told: "+line, func() bool { b, _ := os.ReadFile(out); return len(b) >= len(want) })
		if b, _ := os.ReadFile(out); string(b) != want {
			t.Fatalf("%q, want %q", b, want)
		}
	}
	addr := f.servers[0].Addr().String()
	f.servers[0].Close()
	tells("service service_down web")
	f.listen(addr)
	tells("service service_up web")
	f.kernel.Unload()
	tells("kernel kernel_lost")
	f.kernel.Load()
	tells("kernel kernel_back")
	f.has(0, "1")
}
