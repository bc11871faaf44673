package topo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Capture records the packets of one interface, in both directions, from the
// moment Host.Capture returns. The kernel keeps them (16 MiB at most) until they
// are asked for. Safe for concurrent use.
type Capture struct {
	Host *Host
	Dev  string

	file *os.File
	raw  syscall.RawConn

	mu      sync.Mutex
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
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network byte order
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})))
	if err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err != nil {
		c.file.Close()
	}
	return err
}

// Close ends the capture. What was read stays readable by Packets of before.
func (c *Capture) Close() error {
	c.Host.net.drop(c)
	if err := c.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("topo: end capture: %w", err)
	}
	return nil
}

// Packets returns all packets recorded so far. When a reply has reached its
// receiver, the packets that led to it are recorded.
func (c *Capture) Packets() ([]Packet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.raw.Control(func(fd uintptr) {
		for c.receive(int(fd)) == nil {
		}
	})
	if err == nil {
		err = c.complete()
	}
	if err != nil {
		return nil, fmt.Errorf("topo: %s: packets of %s: %w", c.Host.Name, c.Dev, err)
	}
	return slices.Clone(c.packets), nil
}

// Wait returns the first packet since the start that matches; when there is none
// yet it waits for it as long as ctx, or Patience, allows.
func (c *Capture) Wait(ctx context.Context, match func(Packet) bool) (Packet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer limit(ctx, c.file.SetReadDeadline)()
	for seen := 0; ; {
		for ; seen < len(c.packets); seen++ {
			if match(c.packets[seen]) {
				return c.packets[seen], nil
			}
		}
		var result error
		err := c.raw.Read(func(fd uintptr) bool {
			result = c.receive(int(fd))
			return result != unix.EAGAIN
		})
		if err = errors.Join(err, result); err != nil {
			return Packet{}, fmt.Errorf("topo: %s: wait for packet on %s: %w", c.Host.Name, c.Dev, err)
		}
	}
}

// receive takes one packet from the kernel.
func (c *Capture) receive(fd int) error {
	buf, oob := make([]byte, 1<<17), make([]byte, 128)
	// MSG_TRUNC: tell the length of the packet, not of what fits.
	n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	if err != nil {
		return err
	}
	p := Decode(slices.Clone(buf[:min(n, len(buf))]))
	p.Length, p.Time = n, stamp(oob[:oobn])
	if ll, ok := from.(*unix.SockaddrLinklayer); ok {
		p.Out = ll.Pkttype == unix.PACKET_OUTGOING
	}
	c.packets = append(c.packets, p)
	return nil
}

// stamp finds the kernel's time of a packet among the control messages.
func stamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
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
		return err
	}
	c.lost += stats.Drops // the kernel counts anew after each look
	if c.lost > 0 {
		return fmt.Errorf("%d packets lost", c.lost)
	}
	return nil
}
