package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/internal/lab/boot"
)

// options reads the flags; every flag has a variable, because go test -exec
// leaves no good place for flags.
func options(args []string) ([]string, *boot.Options, error) {
	o := &boot.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	memory, err := strconv.Atoi(env("LAB_MEMORY", "1024"))
	if err != nil {
		return nil, nil, fmt.Errorf("LAB_MEMORY: %q is no number of MiB", os.Getenv("LAB_MEMORY"))
	}
	limit, err := time.ParseDuration(env("LAB_TIMEOUT", "10m"))
	if err != nil {
		return nil, nil, fmt.Errorf("LAB_TIMEOUT: %w", err)
	}
	fs := flag.NewFlagSet("lab", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: lab [flags] PROGRAM [ARGUMENTS]\n       lab [flags] -shell")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.Kind, "kind", env("LAB", "uml"), "kernel: uml, qemu or `host` ($LAB)")
	fs.IntVar(&o.Memory, "memory", memory, "memory in `MiB` ($LAB_MEMORY)")
	fs.DurationVar(&o.Limit, "timeout", limit, "time limit, 0 for none ($LAB_TIMEOUT)")
	fs.BoolVar(&o.TTY, "tty", false, "connect the terminal")
	fs.StringVar(&o.Log, "log", os.Getenv("LAB_LOG"), "append the kernel's messages to `file` ($LAB_LOG)")
	modules := fs.String("modules", env("LAB_MODULES", "ip_vs"), "modules to load first, or none ($LAB_MODULES)")
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
		argv = append([]string{env("SHELL", "/bin/sh")}, argv...)
	}
	if o.TTY && os.Getenv("LAB_TIMEOUT") == "" {
		o.Limit = 0 // people think
	}
	if len(argv) == 0 {
		return nil, nil, errors.New("no program to run (see lab -h)")
	}
	return argv, o, nil
}

func env(key, value string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return value
}
