package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
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

	mu   sync.Mutex
	last time.Time // sign of life
}

func newNotifier(log *slog.Logger, quiet bool) *notifier {
	n := &notifier{log: log}
	n.quiet.Store(quiet)
	if d, err := daemon.SdWatchdogEnabled(false); err == nil {
		n.every = d / 3
	}
	return n
}

func (n *notifier) send(text string) {
	if n.quiet.Load() {
		return
	}
	if _, err := daemon.SdNotify(false, text); err != nil {
		n.log.Warn("systemd cannot be told", "event", "notify_failed", "err", err)
	}
}

func (n *notifier) ready(status string) { n.send("READY=1\nSTATUS=" + status) }

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

// beat is called by the director's loop: no round of it, no sign of life.
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
		n.send("WATCHDOG=1")
	}
}

// status shows the last event that mattered in systemctl status.
func (n *notifier) status(e director.Event) {
	if e.Kind.Level < slog.LevelWarn || os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	words := []string{e.Kind.Brief}
	for _, s := range []string{e.Virtual, e.Server, e.Reason} {
		if s != "" {
			words = append(words, director.Clean(s))
		}
	}
	n.send("STATUS=" + strings.Join(words, ": "))
}
