package healthcheck

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPing needs one of the two kinds of sockets, as the check does.
func TestPing(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			res := lookAt(t, Check{Type: "ping"}, Target{Real: netip.AddrPortFrom(netip.MustParseAddr(addr), 0)})
			if Judge(res.Err) == Unknown && os.Getuid() != 0 && strings.Contains(res.Err.Error(), "ping_group_range") {
				t.Skip("neither ping_group_range nor CAP_NET_RAW lets this user ping")
			}
			if res.Err != nil {
				t.Errorf("%v\n%s", res.Err, res.Transcript)
			}
		})
	}
}

// TestPingTooLate: on a machine so busy that the time of a check is over when it
// comes to send, there is no answer, and the daemon lives.
func TestPingTooLate(t *testing.T) {
	for _, raw := range []bool{false, true} {
		err := echo(within(t, -time.Second), newDialer(Check{Type: "ping"}, Target{Real: netip.MustParseAddrPort("127.0.0.1:0")}), raw)
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrPermission) {
			t.Errorf("raw %v: %v", raw, err)
		}
	}
}

// TestPingUnprivileged: without the right to either socket nothing is known of
// the server.
func TestPingUnprivileged(t *testing.T) {
	if os.Getenv("GOIPVS_TEST_PING") == "" {
		again(t, "GOIPVS_TEST_PING=1", unprivileged)
		return
	}
	probe, err := New(Check{Type: "ping"}, Target{Real: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	if err := probe(within(t, 10*time.Second)); err != nil && (Judge(err) != Unknown || !strings.Contains(err.Error(), "CAP_NET_RAW")) {
		t.Errorf("%v: %v", Judge(err), err)
	}
}

// again runs the running test once more in a process of its own, with another
// environment or other rights.
func again(t *testing.T, env string, change func(*exec.Cmd)) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), env)
	change(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// unprivileged makes a process a nobody's, if it is root's.
func unprivileged(cmd *exec.Cmd) {
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
	}
}
