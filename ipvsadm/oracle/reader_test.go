package oracle

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// reader is the real ipvsadm reading rules that come one by one: starting a
// program takes longer than everything else that a test does. It writes to a
// terminal, as it would keep its output to itself otherwise.
type reader struct {
	cmd   *exec.Cmd
	rules io.WriteCloser
	out   *os.File
	lines *bufio.Reader
	end   string // the answer to what ended the last question: the timeouts
}

func (p *program) reader(t *testing.T) *reader {
	t.Helper()
	master, slave := terminal(t)
	r := &reader{out: master, lines: bufio.NewReader(master)}
	r.cmd = p.command("-R")
	r.cmd.Stdout, r.cmd.Stderr = slave, slave
	var err error
	r.rules, err = r.cmd.StdinPipe()
	must(t, err)
	must(t, p.stage.do(r.cmd.Start))
	must(t, slave.Close())
	t.Cleanup(func() {
		r.rules.Close()
		if err := r.cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("the real ipvsadm: %v", err)
		}
		r.out.Close()
	})
	return r
}

// end is a command whose answer is one line, and no other answer begins like it.
const end, endLine = "-L --timeout\n", "Timeout "

// ask gives the real ipvsadm rules and returns what it says.
func (r *reader) ask(t *testing.T, rules string) string {
	t.Helper()
	wrote := make(chan error, 1)
	go func() { // it may want to be read before it has read all
		_, err := io.WriteString(r.rules, rules+end)
		wrote <- err
	}()
	var said strings.Builder
	for {
		line, err := r.lines.ReadString('\n')
		switch {
		case err != nil:
			t.Fatalf("the real ipvsadm ended: %v, after %q", err, said.String()+line)
		case strings.HasPrefix(line, endLine):
			must(t, <-wrote)
			r.end = line
			return said.String()
		}
		said.WriteString(line)
	}
}

// save is the table as the real ipvsadm sees it.
func (r *reader) save(t *testing.T) string {
	t.Helper()
	return r.ask(t, "-S -n\n")
}

// terminal makes a terminal that changes nothing of what is written to it.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	fd := int(master.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	must(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	set, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	must(t, err)
	set.Oflag &^= unix.OPOST
	set.Lflag &^= unix.ECHO
	must(t, unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, set))
	return master, slave
}
