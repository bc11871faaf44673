package healthcheck

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoFilesLeft: when the director has no file left for a socket, no type of
// check says that the server is down. The server here is one that nobody
// listens at, so that a check that did look would say so.
func TestNoFilesLeft(t *testing.T) {
	if os.Getenv("GOIPVS_TEST_FILES") == "" {
		again(t, "GOIPVS_TEST_FILES=1", func(*exec.Cmd) {})
		return
	}
	var ready []*prepared
	for _, kind := range Types() {
		for _, s := range samples[kind] {
			s.check.Type = kind
			p, err := prepareCheck(s.check)
			if err != nil {
				t.Fatal(err)
			}
			ready = append(ready, p)
		}
	}
	target := Target{Real: netip.MustParseAddrPort("127.0.0.1:1")}
	for _, p := range ready {
		p.run(within(t, patient), target) // what opens files once and for all
	}
	free := useUpFiles(t)
	defer free()
	for _, p := range ready {
		err := p.run(within(t, patient), target).Err
		if p.check.Type == "off" || p.check.Type == "on" {
			continue
		}
		if Judge(err) != Unknown {
			t.Errorf("%s: %v: %v", p.check.Type, Judge(err), err)
		}
	}
}

// TestSourceOfOtherFamily: a source that cannot reach the address that a name
// turned out to have is no word on the server, whatever the type of the check.
func TestSourceOfOtherFamily(t *testing.T) {
	target := Target{Real: netip.MustParseAddrPort("127.0.0.1:1"), Source: netip.IPv6Loopback()}
	for _, kind := range Types() {
		c := samples[kind][0].check
		c.Type = kind
		p, err := prepareCheck(c)
		if err != nil {
			t.Fatal(err)
		}
		err = p.run(within(t, patient), target).Err
		if kind == "on" || kind == "off" || kind == "external" { // these have no use for it
			if err != nil && strings.Contains(err.Error(), "source") {
				t.Errorf("%s: %v", kind, err)
			}
		} else if Judge(err) != Unknown || !strings.Contains(err.Error(), "source ::1 cannot reach 127.0.0.1, which is of the other family") {
			t.Errorf("%s: %v: %v", kind, Judge(err), err)
		}
	}
}

func useUpFiles(t *testing.T) (free func()) {
	t.Helper()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var held []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, fd)
	}
	return func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}
}

// TestJudge: what is the server's to answer for, and what is ours.
func TestJudge(t *testing.T) {
	wrap := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
	}
	for _, test := range []struct {
		err   error
		want  Verdict
		class string
	}{
		{nil, Up, ""},
		{errSick, Down, "answer"},
		{ErrTimeout, Down, "timeout"},
		{ErrFlood, Down, "flood"},
		{wrap(syscall.ECONNREFUSED), Down, "refused"},
		{wrap(syscall.ECONNRESET), Down, "reset"},
		{wrap(syscall.EHOSTUNREACH), Down, "unreachable"},
		{wrap(syscall.ETIMEDOUT), Down, "timeout"},
		{wrap(syscall.EMFILE), Unknown, "own"},
		{wrap(syscall.ENFILE), Unknown, "own"},
		{wrap(syscall.ENOMEM), Unknown, "own"},
		{wrap(syscall.ENOBUFS), Unknown, "own"},
		{wrap(syscall.EADDRNOTAVAIL), Unknown, "own"},
		{wrap(syscall.ENETDOWN), Unknown, "own"},
		{wrap(syscall.EPERM), Unknown, "own"},
		{ours(errSick), Unknown, "own"},
		{panicked("x"), Unknown, "own"},
	} {
		if got := Judge(test.err); got != test.want || Class(test.err) != test.class {
			t.Errorf("%v: %v %q, want %v %q", test.err, got, Class(test.err), test.want, test.class)
		}
	}
}
