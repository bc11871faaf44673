package boot

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// window is the size of our terminal, zero without one.
func window() job.Window {
	ws, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return job.Window{}
	}
	return job.Window{Rows: ws.Row, Cols: ws.Col}
}

// rawTerminal makes our terminal pass on every key: the lab's terminal has its
// own echo, line editing and interrupt key. It does nothing without one.
func rawTerminal() (restore func()) {
	fd := int(os.Stdin.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETSW, &raw); err != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETSW, old) }
}
