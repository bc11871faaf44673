package boot

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// Exit statuses of the lab itself. Any other status is the program's.
const (
	StatusTimeout = 124 // the time limit ended it
	StatusFault   = 125 // no kernel, or it did not report how the program ended
)

// Options say how to run a program.
type Options struct {
	Kind    string        // uml, qemu or host
	Memory  int           // of the kernel, MiB
	CPUs    int           // of the kernel, where it can have several
	Boot    time.Duration // time limit until the program starts, 0 for none
	Limit   time.Duration // time limit of the program, 0 for none
	TTY     bool          // connect the terminal
	Modules []string      // modules to load before the program starts
	NoLoad  bool          // load no module, now or on demand
	Count   bool          // QEMU: instructions are the kernel's clock, on one processor
	Log     string        // also append the kernel's messages to this file

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs the program argv[0], found as a shell finds it, with the arguments
// argv[1:] in this process's environment and folder. It returns the status to
// exit with, and an error that says what happened when that is the lab's and
// not the program's.
func Run(argv []string, o *Options) (int, error) {
	j, err := newJob(argv, o)
	if err != nil {
		return StatusFault, err
	}
	if o.Kind == "host" {
		return runHost(j, o)
	}
	k, err := find(o.Kind)
	if err != nil {
		return StatusFault, err
	}
	dir, err := os.MkdirTemp("", "goipvs-lab-")
	if err != nil {
		return StatusFault, err
	}
	defer os.RemoveAll(dir)
	m, err := k.machine(dir, j, o)
	if err != nil {
		return StatusFault, err
	}
	s, err := start(m, dir, j, o)
	if err != nil {
		return StatusFault, err
	}
	return s.follow()
}

// Prepare gets what the kind of kernel needs into the cache.
func Prepare(kind string) error {
	if kind == "host" {
		return nil
	}
	_, err := find(kind)
	return err
}

func find(kind string) (kernel, error) {
	switch kind {
	case "uml":
		return findUML()
	case "qemu":
		return findQEMU()
	}
	return nil, fmt.Errorf("LAB=%s: no such lab (uml, qemu, host)", kind)
}

func newJob(argv []string, o *Options) (*job.Job, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	return &job.Job{
		Kind: o.Kind, Self: self, Path: path, Args: argv, Env: os.Environ(), Dir: dir,
		Load: o.Modules, Autoload: !o.NoLoad, TTY: o.TTY, Window: window(),
	}, nil
}

// start starts the machine's watcher.
func start(m *machine, dir string, j *job.Job, o *Options) (*session, error) {
	logR, logW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd, life, err := watcher(j.Self, dir, m.argv, m.files)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), m.env...)
	cmd.Stdout, cmd.Stderr = logW, logW
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	logW.Close()
	if err != nil {
		return nil, err
	}
	m.log = logR
	return newSession(cmd, life, m.wires, o), nil
}

// watcher prepares the watcher of argv. It ends argv when life is closed.
func watcher(self, dir string, argv []string, files []*os.File) (cmd *exec.Cmd, life *os.File, err error) {
	r, life, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return &exec.Cmd{
		Path:        self,
		Args:        append([]string{WatchName, dir}, argv...),
		ExtraFiles:  append([]*os.File{r}, files...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}, life, nil
}
