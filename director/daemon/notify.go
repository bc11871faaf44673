package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/goipvs/goipvs/director"
	"golang.org/x/sys/unix"
)

// notifier tells systemd how we are. Without systemd it does nothing.
type notifier struct {
	log   *slog.Logger
	every time.Duration // between signs of life; 0: none are wanted
	quiet atomic.Bool   // systemd listens to another process
	deaf  atomic.Bool   // the last message could not be sent
	news  chan struct{} // something happened that the status may tell

	mu    sync.Mutex
	last  time.Time // sign of life
	asked time.Time // for more time
	said  string    // last status line
}

func newNotifier(log *slog.Logger, quiet bool) *notifier {
	n := &notifier{log: log, news: make(chan struct{}, 1)}
	n.quiet.Store(quiet)
	if d, err := daemon.SdWatchdogEnabled(false); err == nil {
		n.every = d / 3
	}
	return n
}

// send tells systemd something, and is patient with one that is busy.
func (n *notifier) send(text string) { n.told(n.sendFiles(text, nil, 0)) }

// told logs the first of several messages that could not be sent.
func (n *notifier) told(err error) {
	if was := n.deaf.Swap(err != nil); err != nil && !was {
		n.log.Warn("systemd cannot be told", "event", "notify_failed", "err", err)
	}
}

func (n *notifier) ready(status string) { n.tell("READY=1\n", status, true) }

// tell sends a status line, with something before it; unless it must be, only
// when it is another one than the last.
func (n *notifier) tell(before, status string, must bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if must || status != n.said {
		n.send(before + "STATUS=" + status)
		n.said = status
	}
}

// reloading must name the time (sd_notify(3)); ready ends it.
func (n *notifier) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// handOver tells systemd which process is the one from now on. It does not
// listen to this one any more.
func (n *notifier) handOver(pid int) {
	n.send(fmt.Sprintf("MAINPID=%d", pid))
	n.quiet.Store(true)
}

// begin: systemd listens to this process from now on.
func (n *notifier) begin() { n.quiet.Store(false) }

func (n *notifier) stopping() { n.send("STOPPING=1") }

// beat is called by the director's loop: no round of it, no sign of life. It does
// not wait for a systemd that hangs, or servers that die would.
func (n *notifier) beat() {
	if n.every == 0 {
		return
	}
	n.mu.Lock()
	now := time.Now()
	due := now.Sub(n.last) >= n.every
	if due {
		n.last = now
	}
	n.mu.Unlock()
	if due {
		n.told(n.sendFiles("WATCHDOG=1", nil, unix.MSG_DONTWAIT))
	}
}

// A stop that drains asks systemd for more time again and again, each time for a
// while, so that one that hangs is ended. lastWord is for what comes after the
// drain: what is queued is told and written.
const (
	extendEvery = 5 * time.Second
	extendBy    = 30 * time.Second
	lastWord    = 10 * time.Second
)

// draining is called by the director's loop while a stop drains. systemd grants
// what drains of services may take, and to connections without such a limit what
// the unit's TimeoutStopSec says: a shutdown must come to its end.
func (n *notifier) draining(services int, left time.Duration) {
	n.mu.Lock()
	now := time.Now()
	due := now.Sub(n.asked) >= extendEvery
	if due {
		n.asked = now
	}
	n.mu.Unlock()
	if !due {
		return
	}
	text := fmt.Sprintf("STATUS=stopping, %d services wait for the end of their connections", services)
	if left > 0 {
		text += fmt.Sprintf(", for at most %v more\nEXTEND_TIMEOUT_USEC=%d", left.Round(time.Second), (min(left, extendBy) + lastWord).Microseconds())
	}
	n.told(n.sendFiles(text, nil, unix.MSG_DONTWAIT))
}

// statusEvery is how soon systemctl status may show the next thing that happened.
const statusEvery = time.Second

// happened notes that the status line may be another one by now.
func (n *notifier) happened(e director.Event) {
	if e.Kind.Level < slog.LevelInfo {
		return
	}
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// status keeps the line of systemctl status what text says, until ctx ends.
func (n *notifier) status(ctx context.Context, text func() string) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.news:
		}
		if now := text(); ctx.Err() == nil {
			n.tell("", now, false)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(statusEvery):
		}
	}
}
