package guest

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// newTerminal gives the program a pseudo terminal whose other end is the
// channel: the host's terminal is raw, so everything a terminal does happens
// here.
func newTerminal(j *job.Job) (*stdio, error) {
	ch, err := openChannel(j.Out)
	if err != nil {
		return nil, err
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("name terminal: %w", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	p := &stdio{
		child:  [3]*os.File{slave, slave, slave},
		attr:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
		master: master,
	}
	p.resize(j.Window)
	p.done = []chan int64{relay(ch, master)} // ends with EIO when nobody has the slave open
	relay(master, ch)                        // ends with the machine
	return p, nil
}

// resize sets the size of the terminal; the program gets SIGWINCH.
func (p *stdio) resize(w job.Window) {
	if p.master == nil || w == (job.Window{}) {
		return
	}
	_ = unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: w.Rows, Col: w.Cols})
}
