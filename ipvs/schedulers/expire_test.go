package schedulers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// expire makes the kernel forget connections of the service: their servers end
// them, or they get a last datagram, at a moment when what follows lasts a
// second. Their sockets stay open, so that no packet follows.
func (n *network) expire(t *testing.T, s ipvs.Service, conns ...*topo.Conn) {
	t.Helper()
	before, err := n.kernel.Timeouts()
	must(t, err)
	entries := n.entries(t, s)
	must(t, n.kernel.SetTimeouts(ipvs.Timeouts{TCPFin: time.Second, UDP: time.Second}))
	defer func() { must(t, n.kernel.SetTimeouts(before)) }()
	for _, c := range conns {
		_, err := c.Say(t.Context(), "fin")
		must(t, err)
	}
	err = poll(func() string {
		if left := n.entries(t, s) - (entries - len(conns)); left != 0 {
			return fmt.Sprintf("%d connections too many", left)
		}
		return ""
	})
	if err != nil {
		t.Fatalf("wait for connections to expire: %v", err)
	}
}

// finish has the server of a TCP connection end its half. The client would
// acknowledge that 40 ms later, and by then a packet may be a surprise: it sets
// the entry's timer.
func finish(ctx context.Context, c *topo.Conn) error {
	if _, err := c.Say(ctx, "fin"); err != nil {
		return err
	}
	if err := awaitEnd(c); err != nil {
		return err
	}
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
	return errors.Join(err, refused)
}

func awaitEnd(c *topo.Conn) error {
	if err := c.SetDeadline(time.Now().Add(topo.Patience)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("the server did not end its half"), err)
	}
	return nil
}

// entries is how many connections the servers of a service have.
func (n *network) entries(t *testing.T, s ipvs.Service) (sum int) {
	t.Helper()
	list, err := n.kernel.Destinations(s.ServiceKey, nil)
	must(t, err)
	for _, d := range list {
		sum += int(d.Active + d.Inactive)
	}
	return sum
}

// poll asks until the difference is empty, or for a minute: nobody tells when
// the kernel has seen a packet or a timer.
func poll(difference func() string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		d := difference()
		if d == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s", d)
		}
	}
}
