package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if serveIfTold() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	d := &demo{out: os.Stdout}
	network := flag.String("network", "127.87.0.0/24", "loopback addresses to use")
	port := flag.Uint("port", 8080, "port of the virtual address and the servers")
	flag.DurationVar(&d.phase, "phase", 2*time.Second, "how long each phase of traffic lasts")
	flag.Parse()
	prefix, err := netip.ParsePrefix(*network)
	if err == nil {
		d.network, d.port = prefix, uint16(*port)
		err = d.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop is all that was deferred
	}
}
