package topo_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
)

func currentNS(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// However f ends, its thread is back home, and so is every other thread.
func TestKernelDoComesHome(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	home := currentNS(t)
	var client, director, clientAgain string
	err := n.Client.Do(func() error {
		client = currentNS(t)
		err := n.Director.Do(func() error { director = currentNS(t); return errors.New("from f") })
		clientAgain = currentNS(t)
		return err
	})
	if err == nil || err.Error() != "from f" {
		t.Errorf("error %v, want that of f", err)
	}
	if client != clientAgain || client == director || client == home || director == home {
		t.Errorf("namespaces: home %s, client %s, director %s, client again %s", home, client, director, clientAgain)
	}
	if got := currentNS(t); got != home {
		t.Errorf("after Do: %s, want %s", got, home)
	}

	func() {
		defer func() { _ = recover() }()
		_ = n.Client.Do(func() error { panic("in f") })
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.Client.Do(func() error { runtime.Goexit(); return nil })
	}()
	<-ended
	wantAllThreadsIn(t, home)
}

func wantAllThreadsIn(t *testing.T, home string) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && ns != home {
			t.Errorf("thread %s is in %s, home is %s", task.Name(), ns, home)
		}
	}
}

// A program started in Do lives on the host: the test binary, told to look
// where it is.
func TestKernelProgramRunsOnHost(t *testing.T) {
	if os.Getenv("TOPO_TEST_CHILD") != "" {
		t.Skip(currentNS(t)) // -test.v prints it
	}
	n := topotest.New(t, topo.Spec{})
	child := exec.Command("/proc/self/exe", "-test.run=^TestKernelProgramRunsOnHost$", "-test.v")
	child.Env = append(os.Environ(), "TOPO_TEST_CHILD=1")
	var want string
	var out []byte
	err := n.Director.Do(func() (err error) {
		want = currentNS(t)
		out, err = child.CombinedOutput()
		return err
	})
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("want %s, error %v, program says\n%s", want, err, out)
	}
}

func TestKernelSysctl(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	if err := n.Client.Sysctl("net.ipv4.conf.eth0.arp_ignore", "2"); err != nil {
		t.Fatal(err)
	}
	for h, want := range map[*topo.Host]string{n.Client: "2", n.Director: "0"} {
		if got, err := h.ReadSysctl("net.ipv4.conf.eth0.arp_ignore"); err != nil || got != want {
			t.Errorf("%s: %q, error %v, want %q", h.Name, got, err, want)
		}
	}
	if _, err := n.Director.ReadSysctl("net.ipv4.vs.conntrack"); err != nil {
		t.Error(err)
	}
	if err := n.Client.Sysctl("net.ipv4.no_such", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown variable: error %v", err)
	}
}

// What Close leaves: no file descriptor, no goroutine, no thread astray, no
// namespace, no name.
func TestKernelCloseLeavesNothing(t *testing.T) {
	lab.Need(t)
	home := currentNS(t)
	use(t) // once, so that what lives as long as the process is there
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	use(t)
	if got := openFiles(t); len(got) != len(files) {
		t.Errorf("open files before %v, after %v", files, got)
	}
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // one that has been waited for may not have ended quite
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after\n%s", goroutines, got, buf[:runtime.Stack(buf, true)])
	}
	if names, err := os.ReadDir("/run/netns"); err != nil || len(names) != 0 {
		t.Errorf("names left: %v, error %v", names, err)
	}
	wantAllThreadsIn(t, home)
}

// use makes a net with everything in it, closes it and waits for the kernel to
// take the director's namespace down: a veth pair goes when one end does.
func use(t *testing.T) {
	n, err := topo.New(topo.Spec{Servers: 2, IPv6: true, Router: true, Named: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close() // where the test ends early
	gone := watchNamespace(t, "director")
	for _, network := range []string{"tcp", "udp", "sctp"} {
		serve(t, n.Servers[0], network, 7)
	}
	if err := errors.Join(n.Prepare(topo.GUE), n.Prepare(topo.GRE)); err != nil {
		t.Fatal(err)
	}
	for _, h := range n.Hosts() {
		dev := "eth0"
		if h == n.Switch {
			dev = "br0"
		}
		if _, err := h.Capture(dev); err != nil {
			t.Fatal(err)
		}
	}
	c, err := n.Client.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(n.Servers[0].Addr4, 7))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Close() // and the server has one end left
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	gone()
	if err := n.Director.Do(func() error { return nil }); err == nil {
		t.Error("Do after Close: no error")
	}
}

// watchNamespace ties an interface here to a named namespace. The result waits
// for the interface to vanish.
func watchNamespace(t *testing.T, name string) (gone func()) {
	t.Helper()
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		t.Fatal(err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "canary", PeerNamespace: netlink.NsFd(ns)}
	pair.Name = "topo-canary"
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		defer events.Close()
		if err := events.SetReceiveTimeout(&unix.Timeval{Sec: 20}); err != nil {
			t.Fatal(err)
		}
		for {
			messages, _, err := events.Receive()
			if err != nil {
				_ = netlink.LinkDel(pair)
				t.Fatalf("namespace %s is still there: %v", name, err)
			}
			for _, m := range messages {
				link, err := netlink.LinkDeserialize((*unix.NlMsghdr)(&m.Header), m.Data)
				if err == nil && m.Header.Type == unix.RTM_DELLINK && link.Attrs().Name == pair.Name {
					return
				}
			}
		}
	}
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "/proc/") { // not the directory being read
			files = append(files, e.Name()+" "+to)
		}
	}
	return files
}

// A net that cannot be built leaves nothing and takes nothing away from others.
func TestKernelNameTaken(t *testing.T) {
	n := topotest.New(t, topo.Spec{Named: true})
	files := openFiles(t)
	if _, err := topo.New(topo.Spec{Named: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second net of the same names: error %v", err)
	}
	if got := openFiles(t); len(got) != len(files) {
		t.Errorf("open files before %v, after %v", files, got)
	}
	for _, h := range n.Hosts() {
		ns, err := netns.GetFromName(h.Name)
		if err != nil {
			t.Errorf("%s: %v", h.Name, err)
			continue
		}
		ns.Close()
	}
}
