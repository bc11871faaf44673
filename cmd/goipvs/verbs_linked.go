//go:build !goipvs_split

package main

import (
	"io"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
)

// runVerb: a plain build is one program that has the verbs in it.
func runVerb(args []string, in io.Reader, out, errw io.Writer) int {
	return verbs.Run(args, version, in, out, errw)
}
