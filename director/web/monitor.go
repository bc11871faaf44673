package web

import (
	"strings"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/prometheus/client_golang/prometheus"
)

// fresh is how old a picture may be.
const fresh = time.Second

// Monitor counts what happens and holds the latest picture.
type Monitor struct {
	version string
	ask     func() (control.Status, error)

	events   *prometheus.CounterVec
	checks   *prometheus.HistogramVec
	failures *prometheus.CounterVec
	registry *prometheus.Registry

	mu     sync.Mutex
	status control.Status
	at     time.Time
	err    error
}

// NewMonitor makes a Monitor that takes pictures by asking.
func NewMonitor(version string, ask func() (control.Status, error)) *Monitor {
	m := &Monitor{
		version: version, ask: ask, registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "goipvs_events_total", Help: "Events by name, see docs/events.md."}, []string{"event"}),
		checks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "goipvs_check_duration_seconds", Help: "How long checks took, by their verdict.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"verdict"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "goipvs_check_failures_total", Help: "Checks that did not succeed, by reason."}, []string{"reason"}),
	}
	m.registry.MustRegister(m.events, m.checks, m.failures, &collector{m})
	return m
}

// Runner adds the counters of what makes the checks.
func (m *Monitor) Runner(stats func() healthcheck.Stats) {
	gauge := func(name, help string, f func(healthcheck.Stats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return f(stats()) }))
	}
	count := func(name, help string, f func(healthcheck.Stats) float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return f(stats()) }))
	}
	gauge("goipvs_checks", "Different checks; equal ones are made once.", func(s healthcheck.Stats) float64 { return float64(s.Jobs) })
	gauge("goipvs_checks_in_flight", "Checks under way.", func(s healthcheck.Stats) float64 { return float64(s.InFlight) })
	m.registry.MustRegister(&lag{stats})
	count("goipvs_checks_total", "Checks that have ended.", func(s healthcheck.Stats) float64 { return float64(s.Checks) })
	count("goipvs_checks_late_total", "Checks that began more than 250 ms late.", func(s healthcheck.Stats) float64 { return float64(s.Late) })
	count("goipvs_checks_skipped_total", "Checks left out because the one before still ran.", func(s healthcheck.Stats) float64 { return float64(s.Skipped) })
}

// Event counts an event.
func (m *Monitor) Event(name string) { m.events.WithLabelValues(name).Inc() }

// Check counts the result of a check.
func (m *Monitor) Check(_ string, r healthcheck.Result) {
	m.checks.WithLabelValues(healthcheck.Judge(r.Err).String()).Observe(r.Took.Seconds())
	if r.Err != nil {
		m.failures.WithLabelValues(healthcheck.Class(r.Err)).Inc()
	}
}

// picture is the state, at most a second old.
func (m *Monitor) picture() (control.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); m.at.IsZero() || now.Sub(m.at) > fresh {
		m.status, m.err = m.ask()
		m.at = now
	}
	return m.status, m.err
}

// label makes text fit for the value of a label.
func label(s string) string { return strings.ToValidUTF8(s, "?") }
