package boot

import (
	"errors"
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
	Limit   time.Duration // time limit for all of it, 0 for none
	TTY     bool          // connect the terminal
	Modules []string      // modules to load before the program starts
	NoLoad  bool          // load no module, now or on demand
	Log     string        // also write the kernel's messages to this file
	Files   []string      // more files the program needs, where the root is not the host's

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
	s, err := start(m, dir, o)
	if err != nil {
		return StatusFault, err
	}
	return s.follow()
}

func find(kind string) (kernel, error) {
	switch kind {
	case "uml":
		return findUML()
	}
	return nil, fmt.Errorf("LAB=%s: no such lab (uml, qemu, host)", kind)
}

func newJob(argv []string, o *Options) (*job.Job, error) {
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
		Kind: o.Kind, Path: path, Args: argv, Env: os.Environ(), Dir: dir,
		Load: o.Modules, Autoload: !o.NoLoad, TTY: o.TTY, Window: window(),
	}, nil
}

// start starts the machine's watcher.
func start(m *machine, dir string, o *Options) (*session, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	lifeR, lifeW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	logR, logW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path:   self,
		Args:   append([]string{WatchName, dir}, m.argv...),
		Env:    append(os.Environ(), m.env...),
		Stdout: logW, Stderr: logW,
		ExtraFiles:  append([]*os.File{lifeR}, m.files...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	for _, f := range append([]*os.File{lifeR, logW}, m.files...) {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, err
	}
	m.log = logR
	return newSession(cmd, lifeW, m.wires, o), nil
}
