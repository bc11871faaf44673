// Goipvs-verbs is the half of goipvs that runs the verbs (apply, diff). People
// type goipvs, which starts it.
package main

import (
	"os"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
)

var version = "unknown" // set by the linker

func main() { os.Exit(verbs.Run(os.Args, version, os.Stdin, os.Stdout, os.Stderr)) }
