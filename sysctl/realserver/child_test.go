package realserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl/realserver"
)

// child is this program started as another one: it adds and deletes a VIP, so
// many times, or once until it stops before a step and waits to be killed.
func child(words []string) int {
	dir, what, addr := words[0], words[1], netip.MustParseAddr(words[2])
	if what != "dr" && what != "tun" {
		return confinedChild(dir, what, words[2])
	}
	rounds, stop := 1, -1
	if words[3] == "rounds" {
		rounds, _ = strconv.Atoi(words[4])
	} else {
		stop, _ = strconv.Atoi(words[4])
	}
	h := realserver.Host{Dir: dir}.OnStep(func(a realserver.Action) {
		if stop--; stop == -1 {
			fmt.Println("stopped before", a)
			time.Sleep(time.Hour) // until it is killed
		}
	})
	for range rounds {
		_, err := h.Add(realserver.Spec{Mode: realserver.Mode(what)}, addr)
		if err == nil {
			_, err = h.Delete(addr)
		}
		if err != nil {
			fmt.Fprint(os.Stderr, err)
			return 1
		}
	}
	return 0
}

// start runs a child in the server's namespace.
func (f *farm) start(t *testing.T, s *topo.Host, words ...string) (*exec.Cmd, *os.File, *strings.Builder) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var errw strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REALSERVER_TEST_CHILD="+strings.Join(append([]string{f.dir}, words...), " "))
	cmd.Stdout, cmd.Stderr = w, &errw
	do(t, s, cmd.Start)
	w.Close()
	t.Cleanup(func() { r.Close() })
	return cmd, r, &errw
}

// TestKernelKilled: before whichever step it is killed, delete leaves all as it
// was found.
func TestKernelKilled(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	if err := s.Sysctl("net.ipv4.conf.all.rp_filter", "1"); err != nil {
		t.Fatal(err)
	}
	// Load the modules, which stay, and find what devices of theirs are like.
	f.add(t, s, realserver.Spec{Mode: realserver.TUN}, f.VIP4)
	f.del(t, s, f.VIP4)
	before := hostState(t, s)
	for step := 0; ; step++ {
		cmd, out, errw := f.start(t, s, "tun", f.VIP4.String(), "stop", strconv.Itoa(step))
		where, err := bufio.NewReader(out).ReadString('\n')
		if errors.Is(err, io.EOF) { // it came to its end
			if err := cmd.Wait(); err != nil || step < 14 {
				t.Errorf("after %d steps: %v, %s", step, err, errw)
			}
			break
		}
		if err := errors.Join(err, cmd.Process.Kill()); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		f.del(t, s, f.VIP4)
		if t.Failed() {
			break
		}
		wantState(t, s, before)
		if t.Failed() {
			t.Fatal(where)
		}
	}
	wantState(t, s, before)
}

// TestKernelConcurrent: programs at work at once wait for each other.
func TestKernelConcurrent(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	before := hostState(t, s)
	stay := netip.MustParseAddr("192.0.2.99")
	f.add(t, s, realserver.Spec{}, stay)
	var all []*exec.Cmd
	var errs []*strings.Builder
	for _, a := range []string{"192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8:ffff::10"} {
		cmd, _, errw := f.start(t, s, "dr", a, "rounds", "6")
		all, errs = append(all, cmd), append(errs, errw)
	}
	for i, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, errs[i])
		}
	}
	if got := texts(f.add(t, s, realserver.Spec{}, stay)); got != nil {
		t.Errorf("the VIP that stayed lacked: %q", got)
	}
	f.del(t, s, stay)
	wantState(t, s, before)
}
