package doctor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// wire is a packet socket on all links: whole frames out, whole frames in.
type wire struct {
	fd    int
	proto uint16
}

// frame is one that came in, with its link.
type frame struct {
	link int
	toUs bool // by its MAC address
	data []byte
}

func openWire(proto uint16, filter ...unix.SockFilter) (*wire, error) {
	// Protocol 0: nothing comes in before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	w := &wire{fd: fd, proto: proto}
	if len(filter) > 0 {
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap(proto)})
	}
	if err != nil {
		w.close()
		return nil, os.NewSyscallError("packet socket", err)
	}
	return w, nil
}

// swap puts a protocol number in network order.
func swap(p uint16) uint16 { return p>>8 | p<<8 }

func (w *wire) close() { unix.Close(w.fd) }

func (w *wire) send(on Link, data []byte) error {
	return os.NewSyscallError("send", unix.Sendto(w.fd, data, 0, &unix.SockaddrLinklayer{Protocol: swap(w.proto), Ifindex: on.Index}))
}

// read hands over what comes in, until then; what is there already in any case.
func (w *wire) read(until time.Time, f func(frame)) {
	w.readWhile(until, func(p frame) bool { f(p); return true })
}

// readWhile ends also when f returns false.
func (w *wire) readWhile(until time.Time, f func(frame) bool) {
	buf := make([]byte, 1<<16)
	for {
		left := max(0, time.Until(until))
		poll := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int((left+time.Millisecond-1)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		size, from, err := unix.Recvfrom(w.fd, buf, unix.MSG_DONTWAIT)
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if !f(frame{link: ll.Ifindex, toUs: ll.Pkttype == unix.PACKET_HOST, data: append([]byte(nil), buf[:size]...)}) {
			return
		}
	}
}
