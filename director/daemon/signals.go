package daemon

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/goipvs/goipvs/director"
	"golang.org/x/sys/unix"
)

// signals does what the process is told: HUP reloads, TERM and INT stop, a
// second one at once, USR1 logs a status, USR2 upgrades. It waits for nothing
// else: a director that hangs must not keep anybody from stopping the daemon.
func (d *Daemon) signals(ctx context.Context, stop func()) {
	stopping := false
	var work sync.WaitGroup
	var telling sync.Mutex // one status at a time
	defer work.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-d.o.Signals:
			switch sig {
			case unix.SIGHUP:
				d.requestReload()
			case unix.SIGUSR1:
				if telling.TryLock() {
					work.Go(func() { defer telling.Unlock(); d.logStatus() })
				}
			case unix.SIGUSR2:
				if d.isTurn() {
					work.Go(func() { _, _ = d.upgrade() }) // the log tells
				}
			case unix.SIGTERM, unix.SIGINT:
				if stopping {
					close(d.abort)
					return
				}
				stopping = true
				work.Go(d.notify.stopping)
				stop()
			}
		}
	}
}

// logStatus writes a line for each service.
func (d *Daemon) logStatus() {
	st, err := d.dir.Status(nil)
	if err != nil {
		return
	}
	name := slog.String("event", director.StatusLogged.Name)
	d.log.Info("status", name, "services", len(st.Services), "kernel", st.Kernel)
	for i := range st.Services {
		v := &st.Services[i]
		var servers []string
		for j := range v.Servers {
			servers = append(servers, v.Servers[j].Address+" "+v.Servers[j].Verdict+" "+v.Servers[j].Place)
		}
		d.log.Info("status", name, "vs", v.Name, "state", v.State, "fallback", v.Fallback, "servers", strings.Join(servers, ", "))
	}
}
