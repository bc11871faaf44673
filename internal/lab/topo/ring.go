package topo

import (
	"os"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ring has slots of one size: version 2 of the kernel's interface. Version
// 3 packs them better but shows packets late.
const (
	ringSlots = 4096
	slotSize  = 2048
	blockSize = 1 << 16
)

// ring is memory shared with the kernel, into which it copies packets as they
// pass (Documentation/networking/packet_mmap.rst). Reading from the socket
// instead would show packets as they look later: the kernel only keeps a
// reference to them, and fou_recv_pull (net/ipv4/fou.c) changes them in place.
type ring struct {
	memory []byte
	slot   int // the next one to be filled
}

func newRing(fd int) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	size := unix.TpacketReq{Block_size: blockSize, Block_nr: ringSlots * slotSize / blockSize,
		Frame_size: slotSize, Frame_nr: ringSlots}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &size); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	memory, err := unix.Mmap(fd, 0, ringSlots*slotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &ring{memory: memory}, nil
}

func (r *ring) close() error {
	return os.NewSyscallError("munmap", unix.Munmap(r.memory))
}

// next takes the next packet out, if there is one, and gives its slot back.
func (r *ring) next() (Packet, bool) {
	slot := r.memory[r.slot*slotSize:][:slotSize]
	header := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
	if atomic.LoadUint32(&header.Status)&unix.TP_STATUS_USER == 0 {
		return Packet{}, false
	}
	// The address stands behind the header, both are multiples of 16 bytes.
	const after = (unix.SizeofTpacket2Hdr + unix.TPACKET_ALIGNMENT - 1) / unix.TPACKET_ALIGNMENT * unix.TPACKET_ALIGNMENT
	from := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&slot[after]))

	frame := slices.Clone(slot[header.Mac:][:header.Snaplen])
	p := decode(frame, int(header.Len))
	p.Time = time.Unix(int64(header.Sec), int64(header.Nsec))
	p.Out = from.Pkttype == unix.PACKET_OUTGOING

	atomic.StoreUint32(&header.Status, unix.TP_STATUS_KERNEL)
	r.slot = (r.slot + 1) % ringSlots
	return p, true
}
