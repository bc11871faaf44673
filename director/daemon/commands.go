package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/healthcheck"
)

// Limits of the operator's commands.
const (
	commandTimeout = time.Minute
	commandQueue   = 256
	commandOutput  = 4 << 10
)

// commands runs programs one after the other, on a goroutine of their own: what
// they take is nobody else's time.
type commands struct {
	log   *slog.Logger
	queue chan director.Command
	open  sync.WaitGroup // those that were put and have not ended
}

func newCommands(log *slog.Logger) *commands {
	return &commands{log: log, queue: make(chan director.Command, commandQueue)}
}

// put takes a command to be run; it does not wait.
func (c *commands) put(cmd director.Command) {
	c.open.Add(1)
	select {
	case c.queue <- cmd:
	default:
		c.open.Done()
		c.log.Error("too many commands are waiting, one is not run", "event", director.CommandFailed.Name, "vs", cmd.Virtual, "command", cmd.Argv[0])
	}
}

func (c *commands) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case cmd := <-c.queue:
			out, err := runCommand(ctx, cmd.Argv, nil)
			if err != nil {
				c.log.Warn(director.CommandFailed.Brief, "event", director.CommandFailed.Name, "vs", cmd.Virtual,
					"command", cmd.Argv, "err", err, "output", director.Clean(out))
			}
			c.open.Done()
		}
	}
}

// finish waits until all commands have ended; each has its time.
func (c *commands) finish() { c.open.Wait() }

// runCommand runs a program in a process group of its own, with a small
// environment, and kills the group when its time is over. It returns the
// beginning of what it printed.
func runCommand(ctx context.Context, argv, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out head
	cmd.Stdout, cmd.Stderr = &out, &out
	err := healthcheck.StartUnprivileged(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil && err != nil {
		err = errors.Join(errors.New("it took too long and was killed"), err)
	}
	return out.String(), err
}

// head keeps the beginning of what is written.
type head struct {
	mu sync.Mutex
	b  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), commandOutput-len(h.b))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}
