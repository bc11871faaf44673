package boot

import (
	"os"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// A machine is a kernel ready to boot: a command line for the watcher, and
// the descriptors that the command line speaks of.
type machine struct {
	argv  []string
	env   []string   // in addition to ours
	files []*os.File // descriptors 4, 5, ...; closed here after the start
	wires
}

// wires are our ends of the channels. All but ctlIn end with the machine.
type wires struct {
	out, err, ctl *os.File // to read
	ctlIn, in     *os.File // to write; in is the terminal's input
	log           *os.File // the kernel's messages
	monitor       *os.File // to write, nil: has none; QEMU's, for a kernel that does not answer
}

// A kernel knows how to make machines of one kind.
type kernel interface {
	// machine makes one that does the job. dir is a private folder that
	// lasts as long as the machine. The job's channel and module fields are
	// filled in; it is stored in dir or wherever the kernel can see it.
	machine(dir string, j *job.Job, o *Options) (*machine, error)
}

// pipe makes a pipe and appends the machine's end to its descriptors. It
// returns our end and the number the machine's end has.
func (m *machine) pipe(write bool) (ours *os.File, fd int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	ours, theirs := r, w
	if write {
		ours, theirs = w, r
	}
	m.files = append(m.files, theirs)
	return ours, lifeline + len(m.files), nil
}
