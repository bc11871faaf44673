package vip

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Listener hears the ARP and neighbour discovery packets of all interfaces of
// the host, those that it sends itself included. It is for one goroutine.
type Listener struct{ fd int }

// Heard is a message and where it passed.
type Heard struct {
	Message
	Index int  // of the interface
	Out   bool // sent by this host
}

// Listen starts to listen.
func Listen() (*Listener, error) {
	// Protocol 0: nothing arrives before the filter is in place. Only a socket
	// for all protocols sees what is sent.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &OpError{"listen", "", err}
	}
	filter := unix.SockFprog{Len: uint16(len(neighbours)), Filter: &neighbours[0]}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_ALL)})
	}
	if err != nil {
		return nil, &OpError{"listen", "", errors.Join(err, unix.Close(fd))}
	}
	return &Listener{fd}, nil
}

// Close ends the listening.
func (l *Listener) Close() error { return unix.Close(l.fd) }

// Next returns the next message, or ok false when there is none until the
// deadline.
func (l *Listener) Next(deadline time.Time) (h Heard, ok bool, err error) {
	frame := make([]byte, 256)
	for {
		n, from, err := unix.Recvfrom(l.fd, frame, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if ready, err := wait(l.fd, deadline); err != nil || !ready {
				return Heard{}, false, err
			}
			continue
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN): // an interface went down
			continue
		case err != nil:
			return Heard{}, false, &OpError{"listen", "", err}
		}
		ll, is := from.(*unix.SockaddrLinklayer)
		if !is || ll.Hatype != unix.ARPHRD_ETHER {
			continue
		}
		if m, good := Decode(frame[:n]); good {
			return Heard{Message: m, Index: ll.Ifindex, Out: ll.Pkttype == unix.PACKET_OUTGOING}, true, nil
		}
	}
}

func wait(fd int, deadline time.Time) (ready bool, err error) {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		ms := int(min(left/time.Millisecond+1, 1<<30))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, &OpError{"listen", "", err}
		}
		if n > 0 {
			return true, nil
		}
	}
}

// neighbours is a classic BPF program that lets ARP, solicitations and
// advertisements pass, so that a busy server does not copy all its packets here.
var neighbours = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},                // Ethernet type
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 6, K: etherARP},  // take
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 4, K: etherIPv6}, // else drop
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 20},                // next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 2, K: icmp6},     // else drop
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 54},                // ICMPv6 type
	{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: 2, K: 135},       // see below
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},                               // drop
	{Code: unix.BPF_RET | unix.BPF_K, K: 256},                             // take
	{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Jf: 1, K: 136},       // redirects and more: drop
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 256},
}

// send puts a frame on the wire.
func send(index int, frame []byte) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6})
}

func swap16(v uint16) uint16 { return v>>8 | v<<8 }
