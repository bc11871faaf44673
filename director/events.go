package director

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Level is how loudly an event is logged.
type Level = slog.Level

// An EventKind is one kind of event. Names and attributes are an interface:
// docs/events.md lists them, programs match them.
type EventKind struct {
	Name  string
	Level Level
	Brief string
	// Alert is the word of [alert] on that it goes by; empty: nobody is told.
	Alert string
}

// Event is something that happened, worth a line in the log, in the timeline of
// what it is about, and perhaps an alert.
type Event struct {
	Time    time.Time
	Kind    *EventKind
	Virtual string // name of the service; empty: the daemon as a whole
	Server  string // address of the real server; empty: the service as a whole
	Reason  string
	Attrs   []slog.Attr // further facts

	of   *service       // whose timeline it belongs to; nil: the daemon's
	addr netip.AddrPort // of Server

	first bool
}

// First reports whether the event is the first word on a server, or on a service.
func (e *Event) First() bool { return e.first }

// log writes the event as one line: a constant message, facts as attributes.
func (e *Event) log(l *slog.Logger) {
	attrs := make([]slog.Attr, 0, 4+len(e.Attrs))
	attrs = append(attrs, slog.String("event", e.Kind.Name))
	for _, a := range []struct{ key, value string }{{"vs", e.Virtual}, {"rs", e.Server}, {"reason", e.Reason}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, Clean(a.value)))
		}
	}
	l.LogAttrs(context.Background(), e.Kind.Level, e.Kind.Brief, append(attrs, e.Attrs...)...)
}

// timeline are the latest events of one service or server, oldest first.
type timeline []Event

// timelineLength bounds the memory of a server that flaps for a year.
const timelineLength = 32

func (t *timeline) add(e Event) {
	if len(*t) >= timelineLength {
		*t = append((*t)[:0], (*t)[1:]...)
	}
	*t = append(*t, e)
}
