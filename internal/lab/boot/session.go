package boot

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// A session is a machine at work.
type session struct {
	cmd  *exec.Cmd // the watcher
	life *os.File  // closing it ends the machine
	wires
	o *Options

	log     tail
	copying sync.WaitGroup // out, err, log
	copies  [2]copied      // stdout and stderr
	arrived chan struct{}  // some output has
	started time.Time
}

func newSession(cmd *exec.Cmd, life *os.File, w wires, o *Options) *session {
	s := &session{cmd: cmd, life: life, wires: w, o: o, arrived: make(chan struct{}, 1), started: time.Now()}
	s.log.open(o.Log)
	s.copying.Go(func() { s.copies[0].copy(o.Stdout, w.out, s.arrived) })
	s.copying.Go(func() { s.copies[1].copy(o.Stderr, w.err, s.arrived) })
	s.copying.Go(func() { _, _ = io.Copy(&s.log, w.log) })
	return s
}

// outcome is what is known of the program so far.
type outcome struct {
	ready  bool
	end    *job.Ending
	fault  string      // what the kernel's init could not do
	sig    unix.Signal // made us end the machine
	halted bool        // was told to power off
	limit  bool        // the time limit made us end the program or the machine
	poked  bool        // the kernel was made to say where it is
}

// follow waits for the end.
func (s *session) follow() (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH)
	defer signal.Stop(signals)
	if s.o.TTY {
		restore := rawTerminal()
		defer restore()
		go s.input()
	}
	lines := make(chan string)
	go s.report(lines)
	var c outcome
	limit := newLimit(s.o.Boot)
	for lines != nil {
		select {
		case line, ok := <-lines:
			if !ok {
				lines = nil
			}
			if d, ok := s.note(&c, line); ok {
				limit = newLimit(d)
			}
			s.halt(&c)
		case <-s.arrived:
			s.halt(&c)
		case <-limit:
			c.expire(s)
			limit = newLimit(dumpGrace)
		case sig := <-signals:
			s.handle(sig.(unix.Signal), &c)
		}
	}
	return s.finish(&c)
}

// input passes on what is typed. Its end becomes the end-of-file key.
func (s *session) input() {
	_, _ = io.Copy(s.in, s.o.Stdin)
	_, _ = s.in.Write([]byte{4})
}

// report passes on what the kernel's init says, until the machine has ended.
func (s *session) report(lines chan<- string) {
	in := bufio.NewScanner(s.ctl)
	for in.Scan() {
		lines <- in.Text()
	}
	_ = s.cmd.Wait() // how the watcher ended is in ProcessState
	close(lines)
}

const (
	haltGrace = 10 * time.Second // to deliver the rest of the output and power off
	dumpGrace = 10 * time.Second // to say where the program hangs
)

func newLimit(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}

// note takes in a line from the kernel's init, and tells how long the next
// step may take if one begins.
func (s *session) note(c *outcome, line string) (limit time.Duration, ok bool) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case job.Ready:
		c.ready = true
		return s.o.Limit, true
	case job.Exit:
		if e, err := job.ParseEnding(rest); err == nil {
			c.end = &e
			return haltGrace, true
		}
	case job.Fault:
		c.fault = job.ParseFault(rest)
		return haltGrace, true
	}
	return 0, false
}

// halt tells the machine to power off when there is nothing left to come.
func (s *session) halt(c *outcome) {
	if c.halted || c.end == nil && c.fault == "" || c.end != nil && s.lost(c.end) != nil {
		return
	}
	c.halted = true
	s.send(job.Halt + "\n")
}

// expire is called when time is up, first for the program, which a SIGQUIT
// makes say where it is if it is a Go program, then for the machine: a kernel
// that hangs is made to say where, too, if it can be.
func (c *outcome) expire(s *session) {
	done := c.end != nil || c.fault != ""
	if done && (s.copies[0].writing.Load() || s.copies[1].writing.Load()) {
		return // people read slowly
	}
	if !done && !c.limit {
		c.limit = true
		if c.ready {
			s.send(fmt.Sprintf("%s %d\n", job.Signal, unix.SIGQUIT))
			return
		}
	}
	if c.ready && !done && !c.poked && s.monitor != nil {
		c.poked = true
		_, _ = s.monitor.WriteString("nmi\n") // it panics (unknown_nmi_panic), which ends the machine
		return
	}
	s.life.Close()
}

func (s *session) handle(sig unix.Signal, c *outcome) {
	switch sig {
	case unix.SIGWINCH:
		s.send(window().Line())
	case unix.SIGQUIT: // go test sends it on its own time limit
		s.send(fmt.Sprintf("%s %d\n", job.Signal, sig))
	default:
		c.sig = sig
		s.life.Close()
	}
}

// send writes a line to the kernel's init. One that does not listen is found
// out by the time limit.
func (s *session) send(line string) {
	_ = s.ctlIn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = s.ctlIn.WriteString(line)
}

// finish turns what is known into a status.
func (s *session) finish(c *outcome) (int, error) {
	s.life.Close()
	s.copying.Wait()
	took := time.Since(s.started).Round(100 * time.Millisecond)
	stage, limit := "while it booted", s.o.Boot
	if c.ready {
		stage, limit = "while the program ran", s.o.Limit
	}
	switch {
	case c.sig != 0:
		return 128 + int(c.sig), fmt.Errorf("ended by signal: %v", c.sig)
	case c.limit:
		return StatusTimeout, fmt.Errorf("time limit of %v reached %s%s", limit, stage, s.log.last())
	case c.fault != "":
		return StatusFault, fmt.Errorf("%s", c.fault)
	case c.end == nil:
		return StatusFault, fmt.Errorf("the kernel died after %v %s (%v)%s", took, stage, s.cmd.ProcessState, s.log.last())
	}
	if err := cmp.Or(s.lost(c.end), s.copies[0].err, s.copies[1].err); err != nil {
		return StatusFault, err
	}
	return c.end.Status, nil
}

// lost tells whether output has not arrived.
func (s *session) lost(e *job.Ending) error {
	for i, want := range []int64{e.Out, e.Err} {
		if n := s.copies[i].n.Load(); n != want {
			return fmt.Errorf("the program wrote %d bytes to descriptor %d, %d arrived", want, i+1, n)
		}
	}
	return nil
}
