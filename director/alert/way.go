package alert

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Limits of one way of telling.
const (
	mailGroup  = 200              // events in one mail
	groupTime  = time.Second      // what comes within it goes into one
	sendTime   = 30 * time.Second // one attempt
	attempts   = 3
	firstPause = 2 * time.Second // doubled after each attempt
	lastMoment = 3 * time.Second // for what is queued when the daemon stops
)

// way is one way of telling: a queue and who sends what is in it.
type way struct {
	name    string
	a       *Alerter
	group   int // events told at once
	queue   chan Event
	send    func(ctx context.Context, c *Config, host string, list []Event) error
	dropped atomic.Int64
}

func newWay(name string, a *Alerter, group int, send func(context.Context, *Config, string, []Event) error) *way {
	return &way{name: name, a: a, group: group, queue: make(chan Event, queueLength), send: send}
}

func (w *way) put(e Event) {
	select {
	case w.queue <- e:
	default:
		w.dropped.Add(1)
	}
}

func (w *way) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			w.last()
			return
		case e := <-w.queue:
			w.tell(ctx, w.collect(ctx, e))
		}
	}
}

// last sends what is queued when the daemon stops, if that is quick.
func (w *way) last() {
	ctx, cancel := context.WithTimeout(context.Background(), lastMoment)
	defer cancel()
	for {
		select {
		case e := <-w.queue:
			w.tell(ctx, w.drain([]Event{e}))
		default:
			return
		}
	}
}

// collect waits a moment for more that goes into the same message.
func (w *way) collect(ctx context.Context, e Event) []Event {
	list := []Event{e}
	if w.group == 1 {
		return list
	}
	select {
	case <-time.After(groupTime):
	case <-ctx.Done():
	}
	return w.drain(list)
}

func (w *way) drain(list []Event) []Event {
	for len(list) < w.group {
		select {
		case e := <-w.queue:
			list = append(list, e)
		default:
			return list
		}
	}
	return list
}

// tell sends with patience, and gives up.
func (w *way) tell(ctx context.Context, list []Event) {
	if n := w.dropped.Swap(0); n > 0 {
		w.a.log.Warn("too many alerts are waiting, some were dropped", "event", "alert_dropped", "way", w.name, "dropped", n)
	}
	pause := firstPause
	for i := range attempts {
		c := w.a.get()
		once, cancel := context.WithTimeout(ctx, sendTime)
		err := w.send(once, &c, w.a.host, list)
		if err != nil && ctx.Err() == nil && once.Err() != nil {
			err = fmt.Errorf("no end within %v: %w", sendTime, err)
		}
		cancel()
		if err == nil {
			return
		}
		w.a.log.Warn("an alert could not be delivered", append([]any{"event", "alert_failed", "way", w.name, "attempt", i + 1, "of", attempts, "err", err}, about(list)...)...)
		if some := (*partly)(nil); i+1 == attempts || errors.As(err, &some) {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause *= 2
	}
}

// partly is the error of an alert that some have, and that the others cannot have:
// to try again would tell the former twice.
type partly struct{ err error }

func (e *partly) Error() string { return "the others have it: " + e.err.Error() }

// about says which alert it is, the first where there are several.
func about(list []Event) (attrs []any) {
	e := &list[0]
	for _, a := range [][2]string{{"alert", e.Alert}, {"vs", e.Virtual}, {"rs", e.Real}} {
		if a[1] != "" {
			attrs = append(attrs, a[0], a[1])
		}
	}
	if len(list) > 1 {
		attrs = append(attrs, "more", len(list)-1)
	}
	return attrs
}
