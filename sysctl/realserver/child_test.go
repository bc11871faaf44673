package realserver_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl/realserver"
)

// child is this program started as another one: it adds and deletes a VIP for
// ever, or so many times. It says a word before each round.
func child(words []string) int {
	if words[1] != "dr" && words[1] != "tun" {
		return confinedChild(words[0], words[1], words[2])
	}
	mode := realserver.Mode(words[1])
	a := netip.MustParseAddr(words[2])
	h := realserver.Host{Dir: words[0]}
	for round := 0; len(words) < 4 || round < len(words[3]); round++ {
		fmt.Println("round")
		if _, err := h.Add(realserver.Spec{Mode: mode}, a); err != nil {
			fmt.Fprint(os.Stderr, err)
			return 1
		}
		if _, err := h.Delete(a); err != nil {
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

// TestKernelKilled: whenever it is killed, delete leaves all as it was found.
func TestKernelKilled(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	// Load the modules, which stay, and find what devices of theirs are like.
	f.add(t, s, realserver.Spec{Mode: realserver.TUN}, f.VIP4, f.VIP6)
	f.del(t, s, f.VIP4, f.VIP6)
	before := hostState(t, s)
	half := 0
	for i := range 18 {
		mode, a := "dr", f.VIP4
		if i%2 == 1 {
			mode = "tun"
		}
		if i%3 == 2 {
			a = f.VIP6
		}
		cmd, out, _ := f.start(t, s, mode, a.String())
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var died *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &died) || died.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child ended by itself: %v", err)
		}
		if f.del(t, s, a).Changed() {
			half++
		}
		wantState(t, s, before)
	}
	t.Logf("%d of 18 were killed half way", half)
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
		cmd, _, errw := f.start(t, s, "dr", a, "......")
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
