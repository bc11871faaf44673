package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// Init is process 1: it makes the kernel habitable, runs the job whose file is
// path, reports how it ended and powers the machine off. It never returns.
func Init(path string) {
	defer powerOff()
	if err := run(path); err != nil {
		fmt.Fprintln(os.Stderr, "lab init:", err) // the kernel's log
	}
}

func run(path string) error {
	j, err := job.Read(path)
	if err != nil {
		return err
	}
	if err := enterRoot(j); err != nil {
		return err
	}
	if err := mountKernel(); err != nil {
		return err
	}
	ctl, err := openControl(j.Ctl)
	if err != nil {
		return err
	}
	end, err := serve(j, ctl)
	unix.Sync()
	line := end.Line()
	if err != nil {
		line = job.FaultLine(err)
	}
	if err := ctl.say(line); err != nil {
		return err
	}
	ctl.awaitHalt()
	return nil
}

// serve prepares the machine and runs the program.
func serve(j *job.Job, ctl *control) (job.Ending, error) {
	if err := prepare(j); err != nil {
		return job.Ending{}, err
	}
	return runProgram(j, ctl)
}

func prepare(j *job.Job) error {
	if err := mountTemporary(j); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	lim := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("raise limit of open files: %w", err)
	}
	if err := setUpModules(j); err != nil {
		return err
	}
	return LoopbackUp()
}

func powerOff() {
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "lab init: power off:", err)
	os.Exit(1) // the kernel panics, and the host notices
}
