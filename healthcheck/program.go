package healthcheck

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Run runs a program of the operator's that is no check, such as one that tells of
// an event, and returns the beginning of what it printed. It has this environment
// beside PATH and LANG, and a process group of its own, which is killed when ctx
// ends. What it leaves running in the background is left alone and not waited for.
func (c Confinement) Run(ctx context.Context, argv, env []string) (output string, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out beginning
	cmd.Stdout, cmd.Stderr = &out, &out
	wait, err := c.Start(cmd)
	if err != nil {
		return "", err
	}
	err = wait()
	if errors.Is(err, exec.ErrWaitDelay) { // it went well, and something that it left has the pipe
		err = nil
	}
	if ctx.Err() != nil && err != nil {
		err = errors.Join(errors.New("it took too long and was killed"), err)
	}
	return out.String(), err
}

// beginning keeps the beginning of what is written.
type beginning struct {
	mu sync.Mutex
	b  []byte
}

// Write takes all.
func (o *beginning) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, p[:min(len(p), maxOutput-len(o.b))]...)
	return len(p), nil
}

func (o *beginning) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}
