package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// asDaemon has the test binary be goipvsd: kernel tests start it on the director.
const asDaemon = "GOIPVSD_TEST_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		p := newProgram()
		if n := os.Getenv(killAfter); n != "" {
			p.kernel = newMortal(n)
		}
		p.step, p.patience = dieAt(os.Getenv(dieAtStep)), testPatience(os.Getenv(stepPatience))
		os.Exit(p.run())
	}
	os.Exit(m.Run())
}

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// rig is a network whose director runs goipvsd; without a network it runs here.
type rig struct {
	*testing.T
	net    *topo.Net
	client *ipvs.Client
	dir    string
	cmd    *exec.Cmd
	ended  chan struct{}
	log    *buffer
	env    []string
	user   *syscall.SysProcAttr // whom goipvsd runs as; nil: root

	patience time.Duration // of await
}

type buffer = testserver.Buffer

func newRig(t *testing.T, spec topo.Spec) *rig {
	r := newBareRig(t, spec)
	method := topo.NAT
	if spec.Router {
		method = topo.DR
	}
	r.must(r.net.Prepare(method))
	return r
}

// newBareRig has real servers without a way back to clients.
func newBareRig(t *testing.T, spec topo.Spec) *rig {
	r := &rig{T: t, net: topotest.New(t, spec), dir: t.TempDir(), log: &buffer{}, patience: patience}
	r.must(r.net.Director.Do(func() (err error) {
		r.client, err = ipvs.Dial(ipvs.Options{})
		return err
	}))
	t.Cleanup(func() {
		r.kill()
		_ = r.client.Flush()
		r.client.Close()
		if t.Failed() {
			t.Logf("log of goipvsd:\n%s", r.log)
		}
	})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// file writes goipvs.toml, with what every test needs before the text.
func (r *rig) file(text string) {
	r.Helper()
	r.must(os.WriteFile(r.path("goipvs.toml"), []byte(r.head()+text), 0o600))
}

func (r *rig) head() string {
	return fmt.Sprintf("control = %q\ncontrol_group = \"\"\nstate_dir = %q\n", r.path("sock"), r.path("state"))
}

// daemonProgram is what runs as goipvsd: the test binary, or, for figures of what is
// installed, the program that GOIPVSD names.
func daemonProgram() string { return cmp.Or(os.Getenv("GOIPVSD"), "/proc/self/exe") }

// command is goipvsd with arguments, on the director.
func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(daemonProgram(), append([]string{"-c", r.path("goipvs.toml")}, args...)...)
	cmd.Args[0] = "goipvsd"
	cmd.SysProcAttr = r.user
	cmd.Env = append(append(os.Environ(), asDaemon+"=1"), r.env...)
	return cmd
}

// start runs goipvsd until it is ready.
func (r *rig) start() {
	r.Helper()
	r.launch()
	r.await("goipvsd answers", func() bool {
		select {
		case <-r.ended:
			r.Fatalf("goipvsd ended: %v\n%s", r.cmd.ProcessState, r.log)
		default:
		}
		_, err := r.status()
		return err == nil
	})
}

func (r *rig) launch() {
	r.Helper()
	r.cmd = r.command()
	r.cmd.Stderr = r.log
	if r.net == nil {
		r.must(r.cmd.Start())
	} else {
		r.must(r.net.Director.Do(r.cmd.Start))
	}
	ended := make(chan struct{})
	r.ended = ended
	cmd := r.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
}

// kill ends goipvsd as a crash would.
func (r *rig) kill() {
	if r.cmd != nil && r.cmd.Process != nil {
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
}

// stop ends it as systemd would and returns its status.
func (r *rig) stop() int {
	r.Helper()
	r.must(r.cmd.Process.Signal(unix.SIGTERM))
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.Fatal("goipvsd does not stop")
	}
	return r.cmd.ProcessState.ExitCode()
}

// await waits until something is so.
func (r *rig) await(what string, f func() bool) {
	r.Helper()
	for end := time.Now().Add(r.patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			_, status, _ := r.goipvs("status")
			r.askWhere()
			r.Fatalf("waited %v in vain until %s; the table is\n%s\n%s", r.patience, what, r.table(), status)
		}
	}
}

// askWhere has goipvsd end with what its goroutines do in its log.
func (r *rig) askWhere() {
	if r.cmd == nil || r.cmd.Process == nil {
		return
	}
	_ = r.cmd.Process.Signal(unix.SIGQUIT)
	_ = r.cmd.Process.Signal(unix.SIGCONT)
	select {
	case <-r.ended:
	case <-time.After(patience):
	}
}

func (r *rig) status() (st control.Status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := control.Dial(ctx, r.path("sock"))
	if err != nil {
		return st, err
	}
	defer c.Close()
	return st, c.Do(ctx, "status", nil, &st)
}

func (r *rig) request(verb string, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	c, err := control.Dial(ctx, r.path("sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(ctx, verb, nil, result)
}

// server is what status says of a server of the service web.
func (r *rig) server(addr string) (s control.ServerStatus) {
	r.Helper()
	st, err := r.status()
	r.must(err)
	for _, v := range st.Services {
		for _, s := range v.Servers {
			if v.Name == "web" && s.Address == addr {
				return s
			}
		}
	}
	return s
}

// table is the kernel's, a line for each service and below it its servers.
func (r *rig) table() string {
	if r.client == nil {
		return "none: there is no IPVS"
	}
	services, err := r.client.Services()
	if err != nil {
		return err.Error()
	}
	slices.SortFunc(services, func(a, b ipvs.ServiceInfo) int { return a.ServiceKey.Compare(b.ServiceKey) })
	var lines []string
	for _, s := range services {
		lines = append(lines, s.ServiceKey.String()+" "+s.Scheduler)
		dests, err := r.client.Destinations(s.ServiceKey, nil)
		if err != nil {
			return err.Error()
		}
		slices.SortFunc(dests, func(a, b ipvs.DestinationInfo) int { return a.Addr.Compare(b.Addr) })
		for _, d := range dests {
			lines = append(lines, fmt.Sprintf("  %s %s %d", d.Addr, d.Method, d.Weight))
		}
	}
	return strings.Join(lines, "\n")
}

// becomes waits until the table is this.
func (r *rig) becomes(table string) {
	r.Helper()
	want := strings.TrimSpace(strings.ReplaceAll(table, "\n\t\t", "\n"))
	r.await("the table is\n"+want, func() bool { return r.table() == want })
}

// goipvs runs a verb and returns its status and what it printed.
func (r *rig) goipvs(args ...string) (status int, out, errw string) {
	var o, e strings.Builder
	words := append([]string{"goipvs", args[0], "--socket", r.path("sock")}, args[1:]...)
	status = verbs.Run(words, "test", strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// ok runs a verb that must work.
func (r *rig) ok(args ...string) string {
	r.Helper()
	status, out, errw := r.goipvs(args...)
	if status != 0 || errw != "" {
		r.Fatalf("goipvs %q: status %d\n%s%s", args, status, out, errw)
	}
	return out
}

// ask asks the service who answers; "" when nobody does.
func (r *rig) ask(vip netip.AddrPort) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := r.net.Client.Ask(ctx, "tcp", netip.AddrPort{}, vip)
	if err != nil {
		return ""
	}
	return a.Server
}

func rip(n int) string { return fmt.Sprintf("10.9.0.%d:80", 10+n) }
