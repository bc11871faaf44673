package main

import (
	"io"
	"path"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/socket"
)

// run is the program but for the process around it; the first of args is its
// own name.
func run(args []string, in io.Reader, out, errw io.Writer) int {
	prog, words := "goipvs", args[min(1, len(args)):]
	if len(args) > 0 {
		prog = args[0]
	}
	if len(words) > 0 && words[0] != "" && !strings.HasPrefix(words[0], "-") && !strings.HasPrefix(path.Base(prog), "ipvsadm") {
		return runVerb(args, in, out, errw)
	}
	r := ipvsadm.Runner{
		Prog: prog, Version: version,
		Stdin: in, Stdout: out, Stderr: errw,
		Dial:   dial,
		Daemon: socket.Connect,
		Names:  &ipvsadm.Resolver{System: hostNames()},
	}
	return r.Run(words)
}

func dial() (ipvsadm.Kernel, error) {
	c, err := ipvs.Dial(ipvs.Options{Alone: true})
	if err != nil {
		return nil, err // not c: a nil *Client would be a Kernel that is not nil
	}
	return c, nil
}
