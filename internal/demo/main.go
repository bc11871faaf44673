package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	d := &demo{out: os.Stdout}
	flag.StringVar(&d.goipvs, "goipvs", "bin/goipvs", "the goipvs to show")
	readme := flag.String("readme", "README.md", "the README whose commands to type")
	flag.IntVar(&d.requests, "requests", 120, "requests for each forwarding method")
	flag.Parse()
	if err := d.run(ctx, *readme); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop is all that was deferred
	}
}
