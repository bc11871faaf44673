// Goipvs sets up and shows the Linux kernel's IPVS tables, in ipvsadm's
// language. Called ipvsadm, ipvsadm-save or ipvsadm-restore it is that program.
package main

import "os"

var version = "unknown" // set by the linker

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
