// Goipvsd keeps virtual services alive: it checks real servers and keeps the
// kernel's IPVS table what the file and the checks ask for. See docs/daemon.md.
package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

var version = "unknown" // set by the linker

func main() { os.Exit(newProgram().run()) }

// newProgram is this process as a program.
func newProgram() *program {
	signal.Ignore(unix.SIGPIPE)
	return &program{args: os.Args, out: os.Stdout, errw: os.Stderr}
}

// received are the signals that a daemon acts on. Nobody else takes them: a verb
// that waits, as stop does for a daemon that drains, ends by them like any
// program.
func received() <-chan os.Signal {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2)
	return signals
}
