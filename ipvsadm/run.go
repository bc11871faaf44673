package ipvsadm

import (
	"errors"
	"io"
	"iter"
	"path"

	"github.com/goipvs/goipvs/ipvs"
)

// Kernel is what the commands need of a kernel. An *ipvs.Client is one.
type Kernel interface {
	Reader
	Apply(iter.Seq[ipvs.Change]) error
	Do(ipvs.Change) error
	Flush() error
	Zero() error
	ZeroService(ipvs.ServiceKey) error
	Timeouts() (ipvs.Timeouts, error)
	SetTimeouts(ipvs.Timeouts) error
	Daemons() ([]ipvs.Daemon, error)
	StartDaemon(ipvs.Daemon) error
	StopDaemon(ipvs.Daemon) error
	Close() error
}

// Runner is the program: it carries out command lines of ipvsadm's language.
// It is used by one goroutine. Stdin, Stdout, Stderr and Dial must be set.
type Runner struct {
	// Prog is how the program was called, with its path; messages begin with its
	// last element. Called ipvsadm-save or ipvsadm-restore it is one of these.
	Prog    string
	Version string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Dial opens the kernel. It is called when a command needs it, after the
	// whole command line was understood.
	Dial func() (Kernel, error)
	// Names translates names; nil knows none and prints numbers.
	Names *Resolver
	// Daemon connects to goipvsd, or says that it does not run by an error that is
	// ErrNotRunning; nil: it never runs. It is called when a command may concern
	// full NAT.
	Daemon func() (Daemon, error)
	// OpenConnections opens the listing of connections for -L -c, which is not
	// part of netlink; nil is /proc/net/ip_vs_conn.
	OpenConnections func() (io.ReadCloser, error)
}

// Run carries out one command line, the program's name not among args, and
// returns its exit status. No words at all are the command -L.
func (r *Runner) Run(args []string) int {
	s := &session{Runner: r, prog: programOf(r.Prog)}
	defer s.close()
	switch s.prog {
	case "ipvsadm-save":
		return s.saveScript(args)
	case "ipvsadm-restore":
		return s.restoreScript()
	}
	if len(args) == 0 {
		args = []string{"-L"}
	}
	c, err := Parse(args, s.resolver())
	if err != nil {
		return s.fail(&c, err)
	}
	return s.one(&c)
}

// programOf is the name for messages; a program may be started without any.
func programOf(p string) string {
	if name := path.Base(p); name != "." && name != "/" {
		return name
	}
	return "goipvs"
}

// session is the run of one command line.
type session struct {
	*Runner
	prog   string
	kernel *planes
	engine *engine  // nil: not connected
	absent bool     // nobody listens on goipvsd's socket
	source string   // the rules file, for messages
	where  string   // "stdin:3: " while its third line is carried out
	hints  []string // those given: thousands of lines need each of them once
}

// resolver is Names as an interface that is nil when Names is.
func (s *session) resolver() Names {
	if s.Names == nil {
		return nil
	}
	return s.Names
}

// dial opens the kernel. Where it has no IPVS full NAT may do without it.
func (s *session) dial() error {
	if s.kernel != nil {
		return nil
	}
	k, err := s.Dial()
	if errors.Is(err, ipvs.ErrNoIPVS) {
		if e, failed := s.connect(); failed == nil && e != nil {
			s.kernel = &planes{Kernel: noKernel{err}, connect: s.connect, none: true}
			return nil
		}
	}
	if err == nil {
		s.kernel = &planes{Kernel: k, connect: s.connect}
	}
	return err
}

// connect finds goipvsd, once; nil when it does not run.
func (s *session) connect() (*engine, error) {
	if s.engine != nil || s.absent || s.Daemon == nil {
		return s.engine, nil
	}
	d, err := s.Daemon()
	if errors.Is(err, ErrNotRunning) {
		s.absent = true
		return nil, nil
	}
	if err == nil {
		s.engine = &engine{daemon: d, warn: func(text string) { s.say("warning: " + text) }}
	}
	return s.engine, err
}

func (s *session) close() {
	if s.kernel != nil {
		s.kernel.Close()
	}
	if s.engine != nil {
		s.engine.daemon.Close()
	}
}

// one carries out one command.
func (s *session) one(c *Command) int {
	switch c.Action {
	case ActionHelp:
		return s.print(help(s.prog))
	case ActionVersion:
		return s.print("goipvs " + s.Version + "\n")
	case ActionRestore:
		return s.restore()
	}
	err := s.open(c)
	if err == nil {
		err = s.do(c)
	}
	status := s.fail(c, err)
	if err == nil && s.kernel.broken != nil {
		status = s.incomplete(c)
	}
	return status
}

// open opens what a command needs: goipvsd alone for what is full NAT's anyway,
// unless the kernel is open already.
func (s *session) open(c *Command) error {
	if !c.fullNAT() || s.kernel != nil {
		return s.dial()
	}
	s.kernel = &planes{Kernel: noKernel{ipvs.ErrNoService}, connect: s.connect}
	return nil
}

// do carries out a command on the kernel.
func (s *session) do(c *Command) error {
	key := c.Change.Service.ServiceKey
	switch c.Action {
	case ActionList:
		return s.list(c)
	case ActionSave:
		return Save(s.Stdout, s.kernel, SaveOptions{Names: s.listNames(c)})
	case ActionFlush:
		return s.kernel.Flush()
	case ActionZero:
		// No address and no port is no service to ipvsadm either.
		if key.FWMark == 0 && key.Addr.Port() == 0 && (!key.Addr.IsValid() || key.Addr.Addr().IsUnspecified()) {
			return s.kernel.Zero()
		}
		return s.kernel.ZeroService(key)
	case ActionSet:
		return s.kernel.SetTimeouts(c.Timeouts)
	case ActionStartDaemon:
		return s.kernel.StartDaemon(c.Daemon)
	case ActionStopDaemon:
		return s.kernel.StopDaemon(c.Daemon)
	case ActionGetLocal:
		return s.locals(c)
	}
	if s.kernel.none { // all services are of full NAT: the forks' scripts say so with the first -P or -a -b
		c.Change.Service.FullNAT = true
	}
	if c.given.has(colEnsure) {
		return s.ensure(c.Change)
	}
	return s.kernel.Do(c.Change)
}

func (s *session) print(text string) int {
	if _, err := io.WriteString(s.Stdout, text); err != nil {
		return s.fail(&Command{Action: ActionList}, err)
	}
	return exitOK
}
