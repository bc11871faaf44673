package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// clients ask at the same time, each request on a connection of its own.
const clients = 8

// tally counts who answered.
type tally struct {
	mu      sync.Mutex
	answers map[string]int
	failed  []error
}

// traffic asks for the time of a phase and prints who answered. No request may
// fail, and each server of want must have had some; nil is any.
func (d *demo) traffic(ctx context.Context, what string, want []*server) error {
	t := tally{answers: map[string]int{}}
	var wg sync.WaitGroup
	end := time.Now().Add(d.phase)
	for range clients {
		wg.Go(func() {
			for more := true; more; more = time.Now().Before(end) && ctx.Err() == nil {
				t.ask(ctx, "http://"+d.service.Addr.String()+"/")
				time.Sleep(5 * time.Millisecond) // not a benchmark
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(d.out, "%s:", what)
	for _, s := range d.servers {
		fmt.Fprintf(d.out, "  %s %d", s.name, t.answers[s.name])
	}
	fmt.Fprintf(d.out, "  failed %d\n", len(t.failed))
	return errors.Join(ctx.Err(), t.judge(want))
}

func (t *tally) judge(want []*server) error {
	if len(t.failed) > 0 {
		return fmt.Errorf("%d requests failed: %w", len(t.failed), t.failed[0])
	}
	for _, s := range want {
		if t.answers[s.name] == 0 {
			return fmt.Errorf("%s had no request", s.name)
		}
	}
	if want != nil && len(t.answers) != len(want) {
		return fmt.Errorf("answers came from %d servers, want %d", len(t.answers), len(want))
	}
	return nil
}

func (t *tally) ask(ctx context.Context, url string) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	name, err := get(ctx, &client, url)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed = append(t.failed, err)
		return
	}
	t.answers[name]++
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	name, _, _ := strings.Cut(string(b), ",")
	return name, err
}
