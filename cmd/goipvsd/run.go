package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/daemon"
)

// Exit statuses: ldirectord's where it has one.
const (
	ok          = 0
	failed      = 1
	badUsage    = 2 // and bad configuration
	notRunning  = 3 // status only
	tempFailure = 75
)

const defaultConfig = "/etc/goipvs/goipvs.toml"

const help = `usage: goipvsd [-c FILE] [-t] [--foreground] [start|stop|restart|try-restart|upgrade|reload|force-reload|status]

Without a verb goipvsd runs in the foreground.

  -c, --config FILE   configuration, default ` + defaultConfig + `
  -t, --test          check the configuration and exit
  --foreground        start and restart: stay in the foreground
  --log FILE          log to a file; without it to standard error, and of a
                      daemon in the background to syslog
  --version           print the version
  -h, --help          print this text

start       run in the background; returns when the services are in the kernel
stop        stop the running daemon and wait for its end
restart     stop, then start; the kernel keeps forwarding meanwhile
try-restart restart, if it is running
upgrade     have a new process take the running daemon's place, with the program
            and configuration that are installed now; no connection is lost.
            When it does not work the old one goes on
reload      have the running daemon read its configuration anew
status      tell whether it is running

Signals: HUP reloads, TERM stops (twice: at once), USR1 logs a status, USR2
upgrades.
Exit status: 0 done, 1 failed, 2 bad command line or configuration,
3 status: not running, 75 another goipvsd has the control socket.
`

// program is one run of the command.
type program struct {
	args      []string
	out, errw io.Writer
	kernel    director.Kernel // nil: that of this network namespace
	patience  time.Duration   // with a new process, in tests
	step      func(string)    // hears of an upgrade's steps, in tests

	config, log      string
	test, foreground bool
}

func (p *program) run() int {
	verb, status := p.parse()
	if status >= 0 {
		return status
	}
	run, known := map[string]func() int{
		"": p.daemon, "start": p.start, "stop": p.stop, "restart": p.restart, "try-restart": p.tryRestart,
		"upgrade": p.upgrade, "reload": p.reload, "force-reload": p.reload, "status": p.status,
	}[verb]
	switch {
	case !known: // of -t, too: it would check another file than who typed this meant
		return p.usage(fmt.Sprintf("unknown verb %q (a file is given by -c; try \"goipvsd --help\")", verb))
	case p.test:
		return p.check()
	}
	return run()
}

// parse reads the command line; a status of 0 or more ends the program.
func (p *program) parse() (verb string, status int) {
	f := flag.NewFlagSet("goipvsd", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	for _, name := range []string{"c", "config"} {
		f.StringVar(&p.config, name, defaultConfig, "")
	}
	for _, name := range []string{"t", "test"} {
		f.BoolVar(&p.test, name, false, "")
	}
	f.StringVar(&p.log, "log", "", "")
	f.BoolVar(&p.foreground, "foreground", false, "")
	showVersion := f.Bool("version", false, "")
	err := f.Parse(p.args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.out, help)
		return "", ok
	case err != nil:
		return "", p.usage(err.Error() + ` (try "goipvsd --help")`)
	case *showVersion:
		fmt.Fprintln(p.out, "goipvsd", version)
		return "", ok
	case f.NArg() > 1:
		return "", p.usage(fmt.Sprintf("one verb at most, not %q (options stand before it)", strings.Join(f.Args(), " ")))
	}
	return f.Arg(0), -1
}

func (p *program) usage(text string) int {
	p.say("usage: " + text)
	return badUsage
}

func (p *program) say(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintln(p.errw, "goipvsd:", strings.TrimRight(line, "\n"))
	}
}

// check is -t: everything that is wrong, with file and line.
func (p *program) check() int {
	c, err := config.Load(p.config, config.Options{})
	if err == nil {
		err = daemon.Check(c)
	}
	if err != nil {
		p.say(err.Error())
		return badUsage
	}
	for _, w := range c.Warnings {
		p.say("warning: " + w.String())
	}
	servers := 0
	for i := range c.Virtuals {
		servers += len(c.Virtuals[i].Reals)
	}
	fmt.Fprintf(p.out, "goipvsd: %s is fine: %d services, %d real servers\n", p.config, len(c.Virtuals), servers)
	return ok
}

// daemon runs until it is told to stop.
func (p *program) daemon() int {
	signals := received()
	w, err := p.logTo()
	if err == nil {
		err = keepFiles()
	}
	if err != nil {
		return p.outcome(err)
	}
	err = daemon.Run(context.Background(), daemon.Options{
		LogTo: w, Config: p.config, Version: version, Signals: signals, Ready: started, Kernel: p.kernel,
		Program: p.again(), Patience: p.patience, Step: p.step,
	})
	return p.outcome(err)
}

func (p *program) outcome(err error) int {
	var running *daemon.RunningError
	var wrong config.Errors
	status := failed
	switch {
	case err == nil:
		return ok
	case errors.As(err, &running):
		status = tempFailure
	case errors.As(err, &wrong):
		p.say(wrong.Error())
		return badUsage
	case errors.Is(err, daemon.ErrConfig):
		p.say(err.Error())
		return badUsage
	}
	p.say(err.Error())
	hint := daemon.Hint(err)
	var told *control.Error
	if errors.As(err, &told) {
		hint = told.Hint
	}
	if hint != "" {
		p.say("hint: " + hint)
	}
	return status
}
