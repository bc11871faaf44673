package ipvs

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// What only a real kernel shows, from inside the client. What commands and
// errors mean is in ipvstest.Conformance.

func kernelClient(t testing.TB) *Client {
	t.Helper()
	lab.Need(t)
	c, err := Dial(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKernelManyRefusals(t *testing.T) {
	c := kernelClient(t)
	const n = 20000
	list := adds(n)
	for i := range list {
		if i%10 != 9 {
			list[i] = Change{Op: DeleteService, Service: list[i].Service}
		}
	}
	err := c.Apply(slices.Values(list))
	var batch *BatchError
	if !errors.As(err, &batch) {
		t.Fatal(err)
	}
	var want, got []int
	for i := range list {
		if i%10 != 9 {
			want = append(want, i)
		}
	}
	for _, f := range batch.Failed {
		if !errors.Is(f, ErrNoService) {
			t.Fatal(f)
		}
		got = append(got, f.Index)
	}
	if !slices.Equal(want, got) {
		t.Errorf("%d refused, want %d", len(got), len(want))
	}
	if s, err := c.Services(); len(s) != n/10 || err != nil {
		t.Errorf("%d services, %v; want %d", len(s), err, n/10)
	}
}

// With a receive buffer that is too small for a transmission's refusals the
// kernel drops replies. The client says so for just these, and goes on.
func TestKernelRepliesLost(t *testing.T) {
	c := kernelClient(t)
	s := c.sock.(*socket)
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10); err != nil {
		t.Fatal(err)
	}
	sized(c, 500)
	good := adds(500)
	list := slices.Concat(good, good, good[:3]) // the second 500 exist
	err := c.Apply(slices.Values(list))
	var batch *BatchError
	if !errors.As(err, &batch) {
		t.Fatal(err)
	}
	lost, refused := 0, 0
	for i, f := range batch.Failed {
		if f.Index != 500+i {
			t.Fatalf("failure %d is of change %d", i, f.Index)
		}
		switch {
		case errors.Is(f, ErrExists):
			refused++
		case errors.Is(f, ErrLost) && f.Index < 1000:
			lost++
		default:
			t.Fatal(f)
		}
	}
	if lost+refused != 503 || lost == 0 || refused < 4 {
		t.Errorf("%d lost, %d refused", lost, refused)
	}
	t.Logf("%d lost, %d refused", lost, refused)
	if s, err := c.Services(); len(s) != 500 || err != nil {
		t.Errorf("afterwards %d services, %v", len(s), err)
	}
}

// The sizes that keep replies from being lost.
func TestKernelReceiveBuffer(t *testing.T) {
	c := kernelClient(t)
	granted := c.sock.widen(receiveBytes)
	if granted < batchOps*replyCost {
		t.Errorf("a receive buffer of %d bytes", granted)
	}
	sized(c, batchOps)
	good := adds(batchOps)
	if err := c.Apply(slices.Values(good)); err != nil {
		t.Fatal(err)
	}
	err := c.Apply(slices.Values(good)) // every one is refused
	if n := strings.Count(failures(err), "already exists"); n != batchOps {
		t.Errorf("%d of %d refusals came", n, batchOps)
	}
}

func TestKernelExtendedAck(t *testing.T) {
	c := kernelClient(t)
	err := c.order("set timeouts", "", cmdSetConfig, func(e *wire.Encoder) { e.U8(attrTimeoutTCP, 1) })
	if err == nil || !strings.Contains(err.Error(), "ttribute") {
		t.Errorf("%v: where are the kernel's own words?", err)
	}
}

func TestKernelListingGivenUp(t *testing.T) {
	c := kernelClient(t)
	if err := c.Apply(slices.Values(adds(2000))); err != nil {
		t.Fatal(err)
	}
	// Ask for a listing and read nothing of it: the next one finds the socket busy.
	c.enc.Buf = c.enc.Buf[:0]
	c.seq++
	c.enc.EndMessage(c.enc.Message(c.family, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, c.seq, uint8(cmdGetService), genlVersion))
	if err := c.sock.send(c.enc.Buf); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Services(); len(s) != 2000 || err != nil {
		t.Errorf("%d services, %v", len(s), err)
	}
}

func TestKernelReload(t *testing.T) {
	c := kernelClient(t)
	add := func() {
		t.Helper()
		if err := c.Apply(slices.Values(adds(3))); err != nil {
			t.Fatal(err)
		}
		if s, err := c.Services(); len(s) != 3 || err != nil {
			t.Errorf("%d services, %v", len(s), err)
		}
	}
	add()
	before := c.family
	unload(t, c)
	add() // loads it again: the first message goes to a family that is gone
	if c.family == before {
		t.Errorf("the family kept its number %d, so this tests nothing", before)
	}
	unload(t, c)
	if s, err := c.Services(); len(s) != 0 || err != nil {
		t.Errorf("listing after a reload: %d services, %v", len(s), err)
	}
	unload(t, c)
	restore := noModules(t)
	if _, err := c.Services(); !errors.Is(err, ErrNoIPVS) {
		t.Error(err)
	}
	if err := c.Do(adds(1)[0]); !errors.Is(err, ErrNoIPVS) {
		t.Error(err)
	}
	if err := c.Apply(slices.Values(adds(5000))); !errors.Is(err, ErrNoIPVS) {
		t.Error(err)
	}
	if _, err := Dial(Options{}); !errors.Is(err, ErrNoIPVS) {
		t.Error(err)
	}
	restore()
	add()
}

// unload removes IPVS with its schedulers from the kernel.
func unload(t *testing.T, c *Client) {
	t.Helper()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "ip_vs_") {
			names = append(names, name)
		}
	}
	for _, name := range append(names, "ip_vs") {
		if err := unix.DeleteModule(name, 0); err != nil {
			t.Fatalf("unload %s: %v", name, err)
		}
	}
}

// noModules keeps the kernel from loading modules until the function it
// returns is called.
func noModules(t *testing.T) (restore func()) {
	t.Helper()
	const path = "/proc/sys/kernel/modprobe"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := func(b []byte) {
		if err := os.WriteFile(path, b, 0); err != nil {
			t.Fatal(err)
		}
	}
	set([]byte("/nonexistent\n"))
	restore = sync.OnceFunc(func() { set(old) })
	t.Cleanup(restore)
	return restore
}
