package bench

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Run runs f with a folder of its own, until f returns or SIGINT or SIGTERM comes,
// and removes the folder. After a signal it does not wait for f: the caller is to
// exit, and what f has started ends with it (Pdeathsig).
func Run(f func(dir string) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "goipvs-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	done := make(chan error, 1)
	go func() { done <- f(dir) }()
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
