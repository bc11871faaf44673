package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/internal/lab/boot"
)

// options reads the flags; every flag that changes how a test runs has a
// variable, because go test -exec leaves no good place for flags. No program
// and no error means to fetch the kernel only.
func options(args []string) ([]string, *boot.Options, error) {
	o := &boot.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	memory, err1 := number("LAB_MEMORY", 1024)
	cpus, err2 := number("LAB_CPUS", 2)
	bootLimit, err3 := duration("LAB_BOOT_TIMEOUT", 2*time.Minute)
	limit, err4 := duration("LAB_TIMEOUT", 10*time.Minute)
	if err := cmp.Or(err1, err2, err3, err4); err != nil {
		return nil, nil, err
	}
	fs := flag.NewFlagSet("lab", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: lab [flags] PROGRAM [ARGUMENTS]\n       lab [flags] -shell")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.Kind, "kind", env("LAB", "uml"), "`kernel`: uml, qemu or host ($LAB)")
	fs.IntVar(&o.Memory, "memory", memory, "memory in `MiB` ($LAB_MEMORY)")
	fs.IntVar(&o.CPUs, "cpus", cpus, "processors, where the kernel can have several ($LAB_CPUS)")
	fs.BoolVar(&o.Count, "count", os.Getenv("LAB_COUNT") == "1", "QEMU: 2 ns for each instruction are the kernel's clock, on one processor ($LAB_COUNT=1)")
	fs.DurationVar(&o.Boot, "boot-timeout", bootLimit, "time limit until the program starts, 0 for none ($LAB_BOOT_TIMEOUT)")
	fs.DurationVar(&o.Limit, "timeout", limit, "time limit of the program, 0 for none ($LAB_TIMEOUT)")
	fs.BoolVar(&o.TTY, "tty", false, "connect the terminal")
	fs.StringVar(&o.Log, "log", os.Getenv("LAB_LOG"), "append the kernel's messages to `file` ($LAB_LOG)")
	modules := fs.String("modules", env("LAB_MODULES", "ip_vs"), "modules to load first, or none ($LAB_MODULES)")
	prepare := fs.Bool("prepare", false, "only fetch the kernel, and the programs that kernel tests work with, into the cache")
	shell := fs.Bool("shell", false, "run a shell")
	if err := fs.Parse(args); err != nil {
		return nil, nil, err
	}
	if o.NoLoad = *modules == "none"; !o.NoLoad {
		o.Modules = strings.FieldsFunc(*modules, func(r rune) bool { return r == ',' || r == ' ' })
	}
	argv := fs.Args()
	if *shell {
		o.TTY = true
		argv = append(shellCommand(env("SHELL", "/bin/sh")), argv...)
	}
	if !isSet(fs, "timeout") && os.Getenv("LAB_TIMEOUT") == "" {
		o.Limit = ownLimit(argv, o)
	}
	if *prepare {
		return nil, o, nil
	}
	if len(argv) == 0 {
		return nil, nil, errors.New("no program to run (see lab -h)")
	}
	return argv, o, nil
}

// shellCommand leaves out bash's start-up files: they tend to start many
// programs, each of which takes its time in user-mode Linux.
func shellCommand(shell string) []string {
	if filepath.Base(shell) == "bash" {
		return []string{shell, "--norc"}
	}
	return []string{shell}
}

func isSet(fs *flag.FlagSet, name string) (set bool) {
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// ownLimit is the limit when nobody said one. People at a terminal have none.
// A test binary has its own, and says more when it is the one that ends it.
func ownLimit(argv []string, o *boot.Options) time.Duration {
	if o.TTY {
		return 0
	}
	for _, arg := range argv {
		value, ok := strings.CutPrefix(arg, "-test.timeout=")
		if d, err := time.ParseDuration(value); ok && err == nil {
			if d > 0 {
				d += time.Minute
			}
			return d
		}
	}
	return o.Limit
}

func number(key string, value int) (int, error) {
	s := env(key, strconv.Itoa(value))
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s: %q is no positive number", key, s)
	}
	return n, nil
}

func duration(key string, value time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(env(key, value.String()))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return d, nil
}

// env is the variable, or the value when it is unset or empty.
func env(key, value string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return value
}
