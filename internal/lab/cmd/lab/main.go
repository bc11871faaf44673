// Command lab runs a program in a kernel that has IPVS:
//
//	lab [flags] PROGRAM [ARGUMENTS]
//	go test -exec "$PWD/bin/lab" -run TestKernel ./...
//
// It is also, started by other names, the first process of that kernel, the
// kernel's modprobe, and the watcher that cleans up. See docs/lab.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goipvs/goipvs/internal/lab/boot"
	"github.com/goipvs/goipvs/internal/lab/guest"
	"github.com/goipvs/goipvs/internal/lab/job"
)

func main() {
	file := os.Getenv(job.Env)
	switch {
	case os.Getpid() == 1 && file != "":
		guest.Init(file)
	case filepath.Base(os.Args[0]) == "modprobe":
		os.Exit(guest.Modprobe(os.Args[1:]))
	case os.Args[0] == boot.WatchName:
		os.Exit(boot.Watch(os.Args[1:]))
	}
	os.Exit(run(os.Args[1:]))
}

// run is the command that people start.
func run(args []string) int {
	argv, o, err := options(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 2
	}
	if argv == nil {
		return report(prepare(o))
	}
	return report(boot.Run(argv, o))
}

// prepare fetches the kernel, and the programs that kernel tests work with.
func prepare(o *boot.Options) (int, error) {
	if err := errors.Join(boot.Prepare(o.Kind), boot.PreparePackages()); err != nil {
		return boot.StatusFault, err
	}
	return 0, nil
}

func report(status int, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	return status
}
