package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"github.com/goipvs/goipvs/config"
)

// logger makes the log that the file asks for, unless there is one. The function
// that it returns ends it.
func (d *Daemon) logger() (end func()) {
	if d.o.Level == nil {
		d.o.Level = new(slog.LevelVar)
	}
	d.level(d.config)
	if d.log = d.o.Log; d.log != nil {
		return func() {}
	}
	to, journal := d.o.LogTo, os.Getenv("JOURNAL_STREAM") != ""
	if to == nil {
		to = os.Stderr
	}
	q := newLogQueue(to)
	d.log = NewLogger(q, d.config.LogFormat, d.o.Level, journal && to == os.Stderr)
	go q.run(func(lines int) {
		d.log.Warn("whoever takes the log did not keep up, lines are lost", "event", "log_lost", "lines", lines)
	})
	return q.close
}

func (d *Daemon) level(c *config.Config) {
	var l slog.Level
	if l.UnmarshalText([]byte(c.LogLevel)) == nil {
		d.o.Level.Set(l)
	}
}

// NewLogger writes a line for each event, as text or as JSON. For the journal
// lines begin with a priority, and have no time, which it knows itself
// (sd-daemon(3)).
func NewLogger(w io.Writer, format string, level slog.Leveler, journal bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if !journal {
		return slog.New(handler(w, format, o))
	}
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}
	p := &prefixer{w: w}
	return slog.New(&prioritized{handler(p, format, o), p})
}

func handler(w io.Writer, format string, o *slog.HandlerOptions) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// prefixer puts a priority before each line.
type prefixer struct {
	w        io.Writer
	mu       sync.Mutex
	priority int
}

func (p *prefixer) Write(b []byte) (int, error) {
	line := append([]byte("<"+strconv.Itoa(p.priority)+">"), b...)
	if _, err := p.w.Write(line); err != nil {
		return 0, err
	}
	return len(b), nil
}

// prioritized tells the prefixer the priority of each record.
type prioritized struct {
	slog.Handler
	p *prefixer
}

func (h *prioritized) Handle(ctx context.Context, r slog.Record) error {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	switch {
	case r.Level >= slog.LevelError:
		h.p.priority = 3
	case r.Level >= slog.LevelWarn:
		h.p.priority = 4
	case r.Level >= slog.LevelInfo:
		h.p.priority = 6
	default:
		h.p.priority = 7
	}
	return h.Handler.Handle(ctx, r)
}

func (h *prioritized) WithAttrs(a []slog.Attr) slog.Handler {
	return &prioritized{h.Handler.WithAttrs(a), h.p}
}

func (h *prioritized) WithGroup(name string) slog.Handler {
	return &prioritized{h.Handler.WithGroup(name), h.p}
}
