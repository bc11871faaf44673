package doctor_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
)

const asUser = "GOIPVS_DOCTOR_AS_USER"

// TestAsUser is the program that TestKernelUnprivileged starts.
func TestAsUser(t *testing.T) {
	text := os.Getenv(asUser)
	if text == "" {
		t.Skip("started by TestKernelUnprivileged only")
	}
	k, err := doctor.ParseService(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := doctor.Run(context.Background(), doctor.Options{Service: &k, Wait: 100 * time.Millisecond, Root: "/nonexistent"})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		t.Fatal(err)
	}
}

// Without rights doctor says what it does not see, and guesses nothing: not even
// that the director, whose table it may not read, is a real server.
func TestKernelUnprivileged(t *testing.T) {
	s := newSite(t, topo.Spec{Router: true}, topo.DR)
	c := exec.Command("/proc/self/exe", "-test.run=^TestAsUser$")
	c.Env = append(os.Environ(), asUser+"="+s.tcp.Addr.String())
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Dir = "/"
	var out []byte
	if err := s.Director.Do(func() (err error) { out, err = c.Output(); return err }); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r doctor.Report
	if err := json.Unmarshal(out[:slices.Index(out, '\n')], &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	table := slices.ContainsFunc(r.Unknown, func(u doctor.Unknown) bool { return u.What == "the IPVS table" })
	if len(r.Findings) > 0 || len(r.Roles) > 0 || !table {
		t.Errorf("an ordinary user is told %s", out)
	}
}
