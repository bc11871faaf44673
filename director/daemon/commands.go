package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/healthcheck"
)

// Limits of the operator's commands.
const (
	commandTimeout = time.Minute
	commandQueue   = 4096 // that wait or run
	commandsAtOnce = 16
)

// commands runs programs on goroutines of their own: what they take is nobody
// else's time. Those of one service, and those of one real server, run one after
// the other in the order in which they were put; others do not wait for them.
type commands struct {
	log   *slog.Logger
	ready chan subject   // whose next command can run
	open  sync.WaitGroup // those that were put and have not ended

	mu    sync.Mutex
	user  string                         // whom they run as; empty: as we do
	lines map[subject][]director.Command // those that wait, and before them the one that is ready or runs
	count int                            // in all lines
}

// subject is what a command is about.
type subject struct{ virtual, real string }

func newCommands(log *slog.Logger) *commands {
	return &commands{log: log, ready: make(chan subject, commandQueue), lines: make(map[subject][]director.Command)}
}

// as sets whom commands run as.
func (c *commands) as(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user = user
}

// put takes a command to be run; it does not wait.
func (c *commands) put(cmd director.Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == commandQueue {
		c.log.Error("too many commands are waiting, one is not run", "event", director.CommandFailed.Name, "vs", cmd.Virtual, "rs", cmd.Real, "command", cmd.Argv[0])
		return
	}
	c.open.Add(1)
	c.count++
	s := subject{cmd.Virtual, cmd.Real}
	if c.lines[s] = append(c.lines[s], cmd); len(c.lines[s]) == 1 {
		c.ready <- s // there is room for all lines that can be
	}
}

// run runs commands until ctx ends.
func (c *commands) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for range commandsAtOnce {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case s := <-c.ready:
					c.next(ctx, s)
				}
			}
		})
	}
}

// next runs the first command of a line and lets the next come forward.
func (c *commands) next(ctx context.Context, s subject) {
	c.mu.Lock()
	cmd, user := c.lines[s][0], c.user
	c.mu.Unlock()
	once, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if out, err := (healthcheck.Confinement{User: user}).Run(once, cmd.Argv, cmd.Env); err != nil {
		c.log.Warn(director.CommandFailed.Brief, "event", director.CommandFailed.Name, "vs", cmd.Virtual, "rs", cmd.Real,
			"command", cmd.Argv, "err", err, "output", director.Clean(out))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines[s] = c.lines[s][1:]; len(c.lines[s]) > 0 {
		c.ready <- s
	} else {
		delete(c.lines, s)
	}
	c.count--
	c.open.Done()
}

// finish waits until all commands have ended; each has its time.
func (c *commands) finish() { c.open.Wait() }
