package ipvsadm

import (
	"errors"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
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
	// OpenConnections opens the listing of connections for -L -c, which is not
	// part of netlink; nil is /proc/net/ip_vs_conn.
	OpenConnections func() (io.ReadCloser, error)
}

// Run carries out one command line, the program's name not among args, and
// returns its exit status. No words at all are the command -L.
func (r *Runner) Run(args []string) int {
	s := &session{Runner: r, prog: path.Base(r.Prog)}
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

// session is the run of one command line.
type session struct {
	*Runner
	prog   string
	kernel Kernel
	source string // the rules file, for messages
	where  string // "stdin:3: " while its third line is carried out
	hinted string // the hint given last: thousands of lines need it once
}

// resolver is Names as an interface that is nil when Names is.
func (s *session) resolver() Names {
	if s.Names == nil {
		return nil
	}
	return s.Names
}

func (s *session) dial() (err error) {
	if s.kernel == nil {
		s.kernel, err = s.Dial()
	}
	return err
}

func (s *session) close() {
	if s.kernel != nil {
		s.kernel.Close()
	}
}

// one carries out one command.
func (s *session) one(c *Command) int {
	switch {
	case c.Action == ActionHelp:
		return s.print(strings.ReplaceAll(helpText, "PROG", s.prog))
	case c.Action == ActionVersion:
		return s.print("goipvs " + s.Version + "\n")
	case c.fullNAT():
		return s.fail(c, errFullNAT)
	case c.Action == ActionRestore:
		return s.restore()
	}
	err := s.dial()
	if err == nil {
		err = s.do(c)
	}
	return s.fail(c, err)
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
	}
	if c.given.has(colEnsure) {
		return s.ensure(c.Change)
	}
	return s.kernel.Do(c.Change)
}

// views are the listings in the order in which one wins over the next.
var views = [...]struct {
	col  column
	view View
}{
	{colStats, ViewStats}, {colRate, ViewRate}, {colThresholds, ViewThresholds},
	{colPersistentConn, ViewPersistent}, {colTunInfo, ViewTunnel},
}

func (s *session) list(c *Command) error {
	g := c.given
	o := ListOptions{Names: s.listNames(c), Exact: g.has(colExact), NoSort: g.has(colNoSort), JSON: g.has(colJSON)}
	for _, v := range views {
		if g.has(v.col) {
			o.View = v.view
			break
		}
	}
	switch {
	case g.has(colConnection):
		return s.listConnections(o)
	case g.has(colTimeout):
		t, err := s.kernel.Timeouts()
		if err != nil {
			return err
		}
		return ListTimeouts(s.Stdout, t, o.JSON)
	case g.has(colDaemon):
		d, err := s.kernel.Daemons()
		if err != nil {
			return err
		}
		return ListDaemons(s.Stdout, d, o.JSON)
	case g.has(colService):
		return ListService(s.Stdout, s.kernel, c.Change.Service.ServiceKey, o)
	}
	return List(s.Stdout, s.kernel, o)
}

// listConnections asks the kernel something first: anybody may read the file,
// but a listing is for those who may use IPVS.
func (s *session) listConnections(o ListOptions) error {
	if _, err := s.kernel.Info(); err != nil {
		return err
	}
	open := s.OpenConnections
	if open == nil {
		open = func() (io.ReadCloser, error) { return procfs.Open("", procfs.ConnectionFile) }
	}
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	return ListConnections(s.Stdout, procfs.Connections(f), o)
}

func (s *session) listNames(c *Command) *Resolver {
	if c.given.has(colNumeric) {
		return nil
	}
	return s.Names
}

func (s *session) print(text string) int {
	if _, err := io.WriteString(s.Stdout, text); err != nil {
		return s.fail(&Command{Action: ActionList}, err)
	}
	return exitOK
}

// fail reports err, if any, and returns the exit status.
func (s *session) fail(c *Command, err error) int {
	if err == nil {
		return exitOK
	}
	s.explain(c, err)
	var u *UsageError
	switch {
	case errors.As(err, &u):
		return u.Status
	case errors.Is(err, errFullNAT):
		return exitList
	case errors.Is(err, ipvs.ErrNoIPVS), errors.Is(err, ipvs.ErrPermission):
		return exitUsage
	case c.Action == ActionList, c.Action == ActionSave:
		return exitList
	}
	return exitKernel
}

// explain prints what went wrong, and what may help.
func (s *session) explain(c *Command, err error) {
	s.say(s.where + message(err))
	if h := s.hint(c, err); h != "" && h != s.hinted {
		s.say("hint: " + h)
		s.hinted = h
	}
}

// say prints a line on standard error. That it could not be printed cannot be
// told to anybody.
func (s *session) say(text string) {
	_, _ = io.WriteString(s.Stderr, s.prog+": "+text+"\n")
}

// message is an error without the name of the package it comes from.
func message(err error) string {
	var op *ipvs.OpError
	if errors.As(err, &op) {
		return strings.TrimPrefix(op.Error(), "ipvs: ")
	}
	return strings.TrimPrefix(err.Error(), "ipvs: ")
}
