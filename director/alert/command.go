package alert

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
)

// sendCommand runs the command: argv as it is, the event in its environment, in
// a process group of its own that is killed when the time is over.
func sendCommand(ctx context.Context, c *Config, _ string, list []Event) error {
	if len(c.Command) == 0 {
		return nil
	}
	e := &list[0]
	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8",
		"GOIPVS_EVENT=" + e.Alert, "GOIPVS_NAME=" + e.Event, "GOIPVS_VIRTUAL=" + e.Virtual, "GOIPVS_REAL=" + e.Real,
		"GOIPVS_REASON=" + cmp.Or(e.Reason, e.Text),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	wait, err := healthcheck.Confinement{User: c.User}.Start(cmd)
	if err == nil {
		err = wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Command[0], err)
	}
	return nil
}
