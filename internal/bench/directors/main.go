package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.lab, "lab", "bin/lab", "the lab to measure in")
	flag.StringVar(&o.goipvsd, "goipvsd", "bin/goipvsd", "the goipvsd to measure")
	flag.StringVar(&o.against, "against", "", "another goipvsd, a director of the name \"before\"")
	flag.StringVar(&o.only, "only", "goipvsd,keepalived", "the directors to measure")
	flag.IntVar(&o.servers, "servers", 500, "real servers, ten to a service")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, in which the directors take turns")
	flag.DurationVar(&o.steady, "steady", time.Minute, "for how long CPU is measured while nothing happens")
	flag.DurationVar(&o.patience, "patience", time.Minute, "how long a start may take")
	flag.StringVar(&o.steps, "steps", "", "only these of idle, start, steady, reloads, deaths, drift, again; empty: all. Without start there is nothing to measure")
	flag.BoolVar(&o.spread, "spread", false, "let the kernel run on all processors, which costs more and varies; the figures of docs/performance.md before were made so")
	inside := flag.String("inside", "", "be the half in the kernel, for this director")
	root := flag.String("root", "", "where its packages are unpacked")
	role := flag.Bool("serve", false, "be the real servers")
	flag.Parse()
	var err error
	switch {
	case *role:
		err = serve(o.servers)
	case *inside != "":
		err = runInside(*inside, *root, o)
	default:
		err = runOutside(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-directors:", err)
		os.Exit(1)
	}
}

type options struct {
	lab, goipvsd, against, only, steps string
	servers, rounds                    int
	steady, patience                   time.Duration
	spread                             bool // over all processors
}
