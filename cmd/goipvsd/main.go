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
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2)
	signal.Ignore(unix.SIGPIPE)
	return &program{args: os.Args, out: os.Stdout, errw: os.Stderr, signals: signals}
}
