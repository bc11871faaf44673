package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/daemon"
	"golang.org/x/sys/unix"
)

// stopPatience is how long stop waits for the daemon's end; one that drains may
// take its time.
const stopPatience = time.Hour

// readyEnv is the descriptor on which a daemon in the background says that it
// is ready.
const readyEnv = "GOIPVSD_READY_FD"

// start runs the daemon in the background and waits until its services are in
// the kernel. One that runs already is as good.
func (p *program) start() int {
	if _, err := config.Load(p.config, config.Options{}); err != nil {
		return p.outcome(fmt.Errorf("%w: %w", daemon.ErrConfig, err))
	}
	if place, pid, running, _ := p.find(); running { // perhaps with another file, which none of this reads
		fmt.Fprintf(p.out, "goipvsd: process %d runs with %s already, nothing was started (goipvsd reload has it read its file anew)\n", pid, place.Control)
		return ok
	}
	if p.foreground {
		return p.daemon()
	}
	return p.background()
}

// background starts this program once more, without a terminal, and waits for a
// line from it or for its end.
func (p *program) background() int {
	self, err := os.Executable()
	if err != nil {
		return p.outcome(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return p.outcome(err)
	}
	defer r.Close()
	args := []string{"-c", p.config}
	if p.log != "" {
		args = append(args, "--log", p.log)
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return p.outcome(err)
	}
	w.Close()
	if line, _ := bufio.NewReader(r).ReadString('\n'); line == "ready\n" {
		return ok
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode() // it has said why
	}
	return failed
}

// again is how this daemon is started anew for an upgrade: by the path that it
// was started by, where a new version may be by then.
func (p *program) again() daemon.Program {
	path := p.args[0]
	if !strings.Contains(path, "/") {
		self, err := os.Executable() // says the path also when the file has been replaced
		if err != nil {
			return daemon.Program{}
		}
		path = self
	}
	again := daemon.Program{Path: path, Args: []string{p.args[0], "-c", p.config}}
	if p.log != "" {
		again.Args = append(again.Args, "--log", p.log)
	}
	again.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, readyEnv+"=") })
	if inBackground() {
		again.Env = append(again.Env, readyEnv+"=none") // it is, and nobody waits
	}
	return again
}

// inBackground reports whether this process was started by start, or is an
// upgrade of one that was.
func inBackground() bool { return os.Getenv(readyEnv) != "" }

// started tells the process that started us in the background, and lets go of
// its output: who reads that would wait for us.
func started() {
	if os.Getenv(readyEnv) != "3" {
		return
	}
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			_ = unix.Dup3(int(null.Fd()), fd, 0)
		}
		_ = null.Close()
	}
	f := os.NewFile(3, "ready")
	_, _ = f.WriteString("ready\n")
	_ = f.Close()
}

// defaultLog is where a daemon in the background logs when there is no syslog.
const defaultLog = "/var/log/goipvsd.log"

// logTo is where this daemon logs: in the background to a file or syslog.
func (p *program) logTo() (io.Writer, error) {
	switch {
	case p.log != "":
		return os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	case !inBackground():
		return p.errw, nil
	}
	if w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "goipvsd"); err == nil {
		return w, nil
	}
	return os.OpenFile(defaultLog, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
}

// find looks for the daemon of the file, whatever the file is like. When there is
// none, and the file does not tell where one would be, that is an error: a daemon
// must not be taken for stopped because its file is gone.
func (p *program) find() (place daemon.Place, pid int, running bool, err error) {
	place, wrong := daemon.PlaceOf(p.config)
	if pid, running = place.Holder(); !running && wrong != nil {
		var all config.Errors
		errors.As(wrong, &all)
		all = append(all, config.Problem{Text: "nobody runs with " + place.Control + ", but a goipvsd whose file had another control would not be found",
			Hint: "put the file back, or stop the process by its number"})
		err = all
	}
	return place, pid, running, err
}

// dial connects to the daemon of the file.
func (p *program) dial(ctx context.Context) (*control.Client, error) {
	place, pid, running, err := p.find()
	if err != nil {
		return nil, err
	}
	c, err := control.Dial(ctx, place.Control)
	if err == nil {
		return c, nil
	}
	if !running {
		return nil, &control.Error{Code: control.Failed, Message: "goipvsd does not run with " + place.Control, Hint: "goipvsd start"}
	}
	if _, here := place.ControlHolder(); !here {
		return nil, &control.Error{Code: control.Failed, Message: fmt.Sprintf("goipvsd runs, process %d, with another control socket than %s says by now", pid, p.config), Hint: "goipvsd restart"}
	}
	return nil, err
}

// stop ends the daemon and waits for its end. A configuration that is broken
// does not matter: the daemon runs by the one it has.
func (p *program) stop() int {
	place, pid, running, err := p.find()
	if err != nil {
		return p.outcome(err)
	}
	if !running {
		return ok
	}
	if pid == 0 {
		return p.outcome(fmt.Errorf("goipvsd runs with %s, but as what process is not known", place.Control))
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		return p.outcome(fmt.Errorf("stop process %d: %w", pid, err))
	}
	for end := time.Now().Add(stopPatience); !place.AwaitEnd(time.Second); {
		if now, _ := place.Holder(); now != pid && now != 0 { // an upgrade has just ended
			pid = now
			_ = unix.Kill(pid, unix.SIGTERM)
		}
		if time.Now().After(end) {
			return p.outcome(fmt.Errorf("process %d does not stop", pid))
		}
	}
	return ok
}

// upgrade has the daemon start its successor, and tells what came of it.
func (p *program) upgrade() int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if place, _, running, err := p.find(); err == nil && !running {
		p.say("goipvsd does not run with " + place.Control)
		return notRunning
	}
	c, err := p.dial(ctx)
	if err != nil {
		return p.outcome(err)
	}
	defer c.Close()
	var u control.Upgraded
	if err := c.Do(ctx, "upgrade", nil, &u); err != nil {
		return p.outcome(err)
	}
	fmt.Fprintf(p.out, "goipvsd: process %d has taken the place of process %d\n", u.PID, u.Was)
	return ok
}

func (p *program) restart() int {
	if _, err := config.Load(p.config, config.Options{}); err != nil { // or nobody would run afterwards
		return p.outcome(fmt.Errorf("%w: %w", daemon.ErrConfig, err))
	}
	if status := p.stop(); status != ok {
		return status
	}
	return p.start()
}

func (p *program) tryRestart() int {
	switch _, _, running, err := p.find(); {
	case err != nil:
		return p.outcome(err)
	case !running:
		return ok
	}
	return p.restart()
}

// reload has the daemon read its file and says what it makes of it.
func (p *program) reload() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		return p.outcome(err)
	}
	defer c.Close()
	var r control.Reloaded
	err = c.Do(ctx, "reload", control.ReloadArgs{}, &r)
	var wrong *control.Error
	switch {
	case errors.As(err, &wrong) && wrong.Code == control.BadConfig:
		p.say(wrong.Message)
		return badUsage
	case err != nil:
		return p.outcome(err)
	}
	for _, w := range r.Warnings {
		p.say("warning: " + w)
	}
	return ok
}

// status tells whether the daemon runs, as ldirectord does: see goipvs status
// for how the services are.
func (p *program) status() int {
	_, pid, running, err := p.find()
	if err != nil {
		return p.outcome(err)
	}
	if !running {
		fmt.Fprintf(p.out, "goipvsd is stopped for %s\n", p.config)
		return notRunning
	}
	fmt.Fprintf(p.errw, "goipvsd for %s is running with pid: %d\n", p.config, pid)
	return ok
}
