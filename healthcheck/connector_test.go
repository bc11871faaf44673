package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestConnectMany: many connect checks at a time by one runner find who is up,
// who refuses and who is silent, see a server die and come back, and leave no
// file open.
func TestConnectMany(t *testing.T) {
	const each = 40
	up, mortal, dead := reserve(t), reserve(t), reserve(t)
	up.listen(t)
	l := mortal.listen(t)
	hole := silent(t)
	l.Close()
	before := openFiles(t)
	l = mortal.listen(t)
	var subjects []Subject
	add := func(name string, at netip.AddrPort, source netip.Addr) {
		for i := range each {
			a := at.Addr().As4()
			a[3] += byte(i) // equal checks would be made once
			subjects = append(subjects, Subject{ID: fmt.Sprint(name, i), Check: Check{Type: "connect"},
				Target:   Target{Real: netip.AddrPortFrom(netip.AddrFrom4(a), at.Port()), Source: source},
				Schedule: Schedule{Interval: 200 * time.Millisecond, Timeout: 2 * time.Second}})
		}
	}
	add("up", up.at, netip.Addr{})
	add("from", up.at, netip.MustParseAddr("127.0.0.1"))
	add("mortal", mortal.at, netip.Addr{})
	add("dead", dead.at, netip.Addr{})
	add("silent", hole, netip.Addr{})
	r := NewRunner(Options{})
	if err := r.Replace(subjects); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.Run(ctx)
		close(done)
	}()
	expect := func(name, want string) {
		t.Helper()
		for i := range each {
			awaitStatus(t, r, fmt.Sprint(name, i), want)
		}
	}
	expect("up", "up ")
	expect("from", "up ")
	expect("mortal", "up ")
	expect("dead", "down refused tcp connect to 127.0.0.")
	expect("silent", "down timeout timed out connecting")
	l.Close()
	expect("mortal", "down refused tcp connect to 127.0.0.")
	l = mortal.listen(t)
	expect("mortal", "up ")
	if st, _ := r.Status("up0"); !strings.HasPrefix(st.Transcript, "* tcp connected to 127.0.0.1:") {
		t.Errorf("transcript %q", st.Transcript)
	}
	if st, _ := r.Status("silent0"); !strings.Contains(st.Transcript, "timed out") {
		t.Errorf("transcript %q", st.Transcript)
	}
	cancel()
	<-done
	l.Close()
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, before there were %d", after, before)
	}
}

// reserved is a port of all addresses of loopback that nobody else gets, whether
// somebody listens or not.
type reserved struct{ at netip.AddrPort }

func reserve(t *testing.T) reserved {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{})
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return reserved{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))}
}

// listen accepts and closes.
func (r reserved) listen(t *testing.T) net.Listener {
	t.Helper()
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
			return e
		}
		return err
	}}
	l, err := shared.Listen(t.Context(), "tcp4", fmt.Sprint("0.0.0.0:", r.at.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.Close()
			}
		}
	}()
	return l
}

// silent is a port of loopback whose queue is full, so that nothing is answered.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(l, &unix.SockaddrInet4{})
	}
	if err == nil {
		err = unix.Listen(l, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(l) })
	name, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	c, err := net.DialTimeout("tcp", at.String(), patient) // who takes the one place
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return at
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// awaitStatus waits until a subject's verdict, class and reason begin with want.
func awaitStatus(t *testing.T, r *Runner, id, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		st, _ := r.Status(id)
		if got = fmt.Sprint(st.Verdict, " ", st.Class, " ", st.Reason); st.Checks > 0 && strings.HasPrefix(got, want) {
			return
		}
	}
	t.Fatalf("%s: %q, want %q", id, got, want)
}

// TestConnectNoFiles: without a file left a connect check cannot tell.
func TestConnectNoFiles(t *testing.T) {
	if os.Getenv("GOIPVS_TEST_FILES") == "" {
		again(t, "GOIPVS_TEST_FILES=1", func(*exec.Cmd) {})
		return
	}
	for _, ready := range []bool{false, true} { // had there been checks before?
		at := reserve(t)
		at.listen(t)
		r := NewRunner(Options{})
		s := Subject{ID: "a", Check: Check{Type: "connect"}, Target: Target{Real: at.at, Source: at.at.Addr()}, // a socket with a source is used once
			Schedule: Schedule{Interval: 50 * time.Millisecond, Timeout: patient}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		if err := r.Add(s); err != nil {
			t.Fatal(err)
		}
		run := func() { r.Run(ctx); close(done) }
		if ready {
			go run()
			awaitStatus(t, r, "a", "up ")
		}
		free := useUpFiles(t)
		if !ready {
			go run()
		}
		awaitStatus(t, r, "a", "unknown own tcp connect to")
		free()
		awaitStatus(t, r, "a", "up ")
		cancel()
		<-done
	}
}

// TestConnectOther: what more than connects by TCP is not the connector's.
func TestConnectOther(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:80")
	for name, s := range map[string]Subject{
		"TCP":  {Check: Check{Type: "connect"}, Target: Target{Real: at}},
		"SCTP": {Check: Check{Type: "connect", Protocol: "sctp"}, Target: Target{Real: at}},
		"path": {Check: Check{Type: "connect", Via: ViaPath}, Target: Target{Real: at, Virtual: at, Mark: 1}},
		"http": {Check: Check{Type: "http"}, Target: Target{Real: at}},
		"zone": {Check: Check{Type: "connect"}, Target: Target{Real: netip.MustParseAddrPort("[fe80::1%lo]:80")}},
		"from": {Check: Check{Type: "connect"}, Target: Target{Real: at, Source: netip.IPv6Loopback()}},
	} {
		j := &job{key: jobKey{target: s.Target}, prepared: &prepared{check: s.Check}}
		if got := j.attempt() != nil; got != (name == "TCP") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestKeys: a check that differs in whatever field has another key.
func TestKeys(t *testing.T) {
	keys := map[Key]string{Check{}.Key(): "none"}
	var change func(name string, v reflect.Value, c *Check)
	change = func(name string, v reflect.Value, c *Check) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				change(name+"."+v.Type().Field(i).Name, v.Field(i), c)
			}
			return
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		case reflect.Uint16:
			v.SetUint(1)
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{"x"}))
		default:
			t.Fatalf("%s is of a kind that the test does not know: %v", name, v.Kind())
		}
		if other, known := keys[c.Key()]; known {
			t.Errorf("%s and %s have the same key", name, other)
		}
		keys[c.Key()] = name
		v.SetZero()
	}
	var c Check
	change("Check", reflect.ValueOf(&c).Elem(), &c)
}

// TestConnectToItself: a connection that the kernel led back to its own
// beginning is no server.
func TestConnectToItself(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, name); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	if a := (&attempt{sock: &tcpSocket{fd: int32(fd)}, to: to}); !a.toItself(1) {
		t.Error("not recognised")
	}
}

// TestConnectAgain: one socket makes one connection after another, to different
// servers, and each server sees its connection end with a reset, as
// the end of the process does it, too.
func TestConnectAgain(t *testing.T) {
	s, err := newTCPSocket(unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	ports := make(map[string]bool)
	for range 20 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.connect(netip.MustParseAddrPort(l.Addr().String())); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ports[c.RemoteAddr().String()] = true
		if !s.reset() {
			t.Fatal("cannot be used again")
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the server sees %v", err)
		}
		c.Close()
		l.Close()
	}
	if len(ports) < 2 {
		t.Errorf("all from one port: %v", ports)
	}
}
