package job

import (
	"encoding/gob"
	"fmt"
	"os"
)

// Env is the variable on the kernel command line, and so in the environment of
// the first process, that holds the path of the job file.
const Env = "GOIPVS_LAB_JOB"

// A Job tells the init of a lab kernel what to run and how to report. It is
// stored with gob and not JSON, because arguments and variables are bytes, not
// text.
type Job struct {
	Kind string   // uml, qemu: what the program sees in GOIPVS_LAB
	Self string   // the lab command, an absolute path in the kernel's root
	Path string   // program, an absolute path in the kernel's root
	Args []string // arguments with the program's name first
	Env  []string // environment, KEY=value
	Dir  string   // working directory

	Modules  string   // directory with modules.dep
	Load     []string // modules to load before the program starts
	Autoload bool     // let the kernel load modules by itself

	Out, Err, Ctl string // channels: devices, see guest
	TTY           bool   // the program gets a terminal, on Out
	Window        Window // size of the terminal at the start

	// Where the kernel starts in an initial file system:
	Share string   // tag of the 9p share that is the host's root
	Early []string // module files to load before it can be mounted
}

// Write stores j in the file path.
func (j *Job) Write(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := gob.NewEncoder(f).Encode(j); err != nil {
		f.Close()
		return fmt.Errorf("write job: %w", err)
	}
	return f.Close()
}

// Read reads the job that Write stored.
func Read(path string) (*Job, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var j Job
	if err := gob.NewDecoder(f).Decode(&j); err != nil {
		return nil, fmt.Errorf("read job %s: %w", path, err)
	}
	return &j, nil
}
