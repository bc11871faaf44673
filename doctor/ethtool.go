package doctor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/ethtool.h.
const (
	ethtoolGetFlags = 0x25    // ETHTOOL_GFLAGS
	ethFlagLRO      = 1 << 15 // ETH_FLAG_LRO
)

// largeReceive tells whether large receive offload is on. An interface that
// cannot say has none.
func largeReceive(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: ethtoolGetFlags}
	var ifreq struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(ifreq.name[:unix.IFNAMSIZ-1], name)
	ifreq.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	return errno == 0 && value.data&ethFlagLRO != 0
}
