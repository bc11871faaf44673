package topo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Capture records the packets of one interface, in both directions, from the
// moment Host.Capture returns. The kernel keeps up to 4,096 until they are asked
// for, and of each the first 1,980 bytes. Safe for concurrent use.
type Capture struct {
	Host *Host
	Dev  string

	file *os.File
	raw  syscall.RawConn

	waiting sync.Mutex
	mu      sync.Mutex // guards what follows
	ring    *ring      // nil when closed
	packets []Packet
	lost    uint32
}

// Capture starts recording on an interface of the host. Close, of the Capture or
// of the Net, ends it.
func (h *Host) Capture(dev string) (*Capture, error) {
	link, err := h.rt.LinkByName(dev)
	if err != nil {
		return nil, fmt.Errorf("topo: %s: find %s: %w", h.Name, dev, err)
	}
	c := &Capture{Host: h, Dev: dev}
	if err := c.open(link.Attrs().Index); err != nil {
		return nil, fmt.Errorf("topo: %s: capture on %s: %w", h.Name, dev, err)
	}
	h.net.keep(c)
	return c, nil
}

func (c *Capture) open(index int) error {
	var fd int
	err := c.Host.Do(func() (err error) {
		// Protocol 0: nothing arrives before bind says from where.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return err
	}
	c.file = os.NewFile(uintptr(fd), "capture")
	if c.ring, err = newRing(fd); err == nil {
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network byte order
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
	}
	if err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err != nil {
		return errors.Join(err, c.end())
	}
	return nil
}

// Close ends the capture; a Wait under way fails.
func (c *Capture) Close() error {
	c.Host.net.drop(c)
	return c.end()
}

func (c *Capture) end() error {
	err := c.file.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring != nil {
		err = errors.Join(err, c.ring.close())
		c.ring = nil
	}
	if err != nil {
		return fmt.Errorf("topo: end capture: %w", err)
	}
	return nil
}

// Packets returns all packets recorded so far. When a reply has reached its
// receiver, the packets that led to it are recorded.
func (c *Capture) Packets() ([]Packet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.receive() {
	}
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("topo: %s: packets of %s: %w", c.Host.Name, c.Dev, err)
	}
	return slices.Clone(c.packets), nil
}

// Wait returns the first packet since the start that matches; when there is none
// yet it waits for it as long as ctx, or Patience, allows. Of several Waits on
// one Capture the second begins when the first is over.
func (c *Capture) Wait(ctx context.Context, match func(Packet) bool) (Packet, error) {
	c.waiting.Lock() // the deadline is the file's, not the call's
	defer c.waiting.Unlock()
	defer limit(ctx, c.file.SetReadDeadline)()
	var found Packet
	seen := 0
	err := c.raw.Read(func(uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for c.receive() {
		}
		for ; seen < len(c.packets); seen++ {
			if found = c.packets[seen]; match(found) {
				return true
			}
		}
		return false
	})
	if err != nil {
		return Packet{}, fmt.Errorf("topo: %s: wait for packet on %s: %w", c.Host.Name, c.Dev, err)
	}
	return found, nil
}

// receive takes one packet from the ring and tells whether there was one.
func (c *Capture) receive() bool {
	if c.ring == nil {
		return false
	}
	p, ok := c.ring.next()
	if ok {
		c.packets = append(c.packets, p)
	}
	return ok
}

// complete is an error when the kernel had to throw packets away: a test that
// looks for what is absent must not take that for a proof.
func (c *Capture) complete() error {
	var stats *unix.TpacketStats
	var err error
	if cerr := c.raw.Control(func(fd uintptr) {
		stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	c.lost += stats.Drops // the kernel counts anew after each look
	if c.lost > 0 {
		return fmt.Errorf("%d packets lost", c.lost)
	}
	return nil
}
