package web

import (
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/prometheus/client_golang/prometheus"
)

var lagDesc = desc("check_lag_seconds", "By how much checks began after their time.")

// lag shows the runner's own counts as a histogram.
type lag struct{ stats func() healthcheck.Stats }

// Describe sends what Collect will.
func (l *lag) Describe(out chan<- *prometheus.Desc) { out <- lagDesc }

// Collect sends the histogram.
func (l *lag) Collect(out chan<- prometheus.Metric) {
	s := l.stats().Lag
	buckets, all := make(map[float64]uint64), uint64(0)
	for i, bound := range healthcheck.LagBounds() {
		all += s.Counts[i]
		buckets[bound.Seconds()] = all
	}
	all += s.Counts[len(s.Counts)-1]
	out <- prometheus.MustNewConstHistogram(lagDesc, all, s.Sum.Seconds(), buckets)
}
