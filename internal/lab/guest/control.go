package guest

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// control is the channel on which the host says what to do and we say how it
// goes.
type control struct {
	*os.File
	orders chan string   // for the program: signals and window sizes
	halt   chan struct{} // closed when the host has everything
}

func openControl(dev string) (*control, error) {
	f, err := openChannel(dev)
	if err != nil {
		return nil, err
	}
	c := &control{File: f, orders: make(chan string, 16), halt: make(chan struct{})}
	go c.listen()
	return c, nil
}

func (c *control) listen() {
	in := bufio.NewScanner(c.File)
	for in.Scan() {
		if in.Text() == job.Halt {
			close(c.halt)
			return
		}
		select {
		case c.orders <- in.Text():
		default: // nobody listens yet; the size of the window is also in the job
		}
	}
}

// say sends a line.
func (c *control) say(line string) error {
	if _, err := c.WriteString(line); err != nil {
		return fmt.Errorf("tell the host %q: %w", line, err)
	}
	return nil
}

// awaitHalt waits until the host has read everything: what is still on its way
// when the machine powers off is lost. A host that says nothing ends us.
func (c *control) awaitHalt() { <-c.halt }

// obey carries out the host's orders for as long as the machine runs.
func (c *control) obey(proc *os.Process, p *stdio) {
	for order := range c.orders {
		word, rest, _ := strings.Cut(order, " ")
		switch word {
		case job.Signal:
			var n int
			if _, err := fmt.Sscan(rest, &n); err == nil {
				_ = unix.Kill(proc.Pid, unix.Signal(n))
			}
		case job.Resize:
			if w, err := job.ParseWindow(rest); err == nil {
				p.resize(w)
			}
		}
	}
}
