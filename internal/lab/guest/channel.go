package guest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openChannel opens a line to the host. In UML that is a serial line, which
// must neither echo nor translate line ends.
func openChannel(dev string) (*os.File, error) {
	fd, err := openSoon(dev)
	if err != nil {
		return nil, fmt.Errorf("open channel %s: %w", dev, err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if errors.Is(err, unix.ENOTTY) {
		return os.NewFile(uintptr(fd), dev), nil // a virtio port, raw by nature
	}
	if err == nil {
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	if err != nil {
		return nil, fmt.Errorf("set channel %s raw: %w", dev, err)
	}
	return os.NewFile(uintptr(fd), dev), nil
}

// openSoon waits for the device. The ports of QEMU appear when the driver and
// the other side have spoken, and there is nobody to tell when that was.
func openSoon(dev string) (fd int, err error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		fd, err = unix.Open(dev, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENXIO) || time.Now().After(deadline) {
			return fd, err
		}
	}
}

// drain waits until the host has taken what was written.
func drain(f *os.File) {
	_ = unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1) // tcdrain; no terminal, nothing to wait for
}
