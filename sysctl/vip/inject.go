package vip

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inject has the kernel receive a frame on an interface. An XDP program that
// passes everything, run by BPF_PROG_TEST_RUN with live frames, hands the frame
// to the network stack as the driver of the interface would
// (bpf_test_run_xdp_live in net/bpf/test_run.c). The program is attached to
// nothing.
func inject(index int, frame []byte) error {
	prog, err := passAll()
	if err != nil {
		return cannot(err)
	}
	defer unix.Close(prog)
	ctx := make([]byte, 24) // struct xdp_md: data, data_end, data_meta, ingress_ifindex, ...
	binary.NativeEndian.PutUint32(ctx[4:], uint32(len(frame)))
	binary.NativeEndian.PutUint32(ctx[12:], uint32(index))

	var attr attributes
	defer attr.pins.Unpin()
	attr.put32(0, uint32(prog))
	attr.put32(8, uint32(len(frame)))
	attr.pointer(16, &frame[0])
	attr.put32(32, 1) // once
	attr.put32(40, uint32(len(ctx)))
	attr.pointer(48, &ctx[0])
	attr.put32(64, 1<<1) // BPF_F_TEST_XDP_LIVE_FRAMES
	_, err = attr.bpf(unix.BPF_PROG_TEST_RUN, 76)
	if err != nil {
		return cannot(err)
	}
	return nil
}

// passAll loads the program "return XDP_PASS".
func passAll() (fd int, err error) {
	code := make([]byte, 16)
	code[0] = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	binary.NativeEndian.PutUint32(code[4:], 2)
	code[8] = unix.BPF_JMP | unix.BPF_EXIT
	license := []byte("Dual BSD/GPL\x00")
	var attr attributes
	defer attr.pins.Unpin()
	attr.put32(0, unix.BPF_PROG_TYPE_XDP)
	attr.put32(4, 2)
	attr.pointer(8, &code[0])
	attr.pointer(16, &license[0])
	fd, err = attr.bpf(unix.BPF_PROG_LOAD, 48)
	return fd, err
}

// attributes is union bpf_attr, and what it points at.
type attributes struct {
	bytes [80]byte
	pins  runtime.Pinner
}

func (a *attributes) put32(at int, v uint32) { binary.NativeEndian.PutUint32(a.bytes[at:], v) }

func (a *attributes) pointer(at int, p *byte) {
	a.pins.Pin(p)
	binary.NativeEndian.PutUint64(a.bytes[at:], uint64(uintptr(unsafe.Pointer(p))))
}

func (a *attributes) bpf(cmd, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&a.bytes)), size)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}
