// Goipvs-verbs is the half of goipvs that runs the verbs (apply, diff). People
// type goipvs, which starts it, and has it ask DNS for names.
package main

import (
	"os"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm/dns"
)

var version = "unknown" // set by the linker

func main() {
	if len(os.Args) == 2 && os.Args[1] == "answer-names" {
		if dns.Serve(os.Stdin, os.Stdout, dns.System{}) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(verbs.Run(os.Args, version, os.Stdin, os.Stdout, os.Stderr))
}
