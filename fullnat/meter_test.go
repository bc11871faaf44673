package fullnat

import (
	"testing"

	"github.com/goipvs/goipvs/ipvs"
)

// Rates go a quarter of the way every two seconds, as ip_vs_est.c has it, and
// begin anew with the counts.
func TestMeter(t *testing.T) {
	var m meter
	var now ipvs.Stats
	rates := func(s ipvs.Stats) [5]uint64 { return [5]uint64{s.CPS, s.InPPS, s.OutPPS, s.InBPS, s.OutBPS} }
	step := ipvs.Stats{Conns: 200, InPkts: 400, OutPkts: 600, InBytes: 8000, OutBytes: 16000} // in two seconds
	for i, want := range [][5]uint64{
		{25, 50, 75, 1000, 2000}, {44, 87, 131, 1750, 3500}, {58, 116, 173, 2312, 4625},
	} {
		now = plus(now, step)
		m.tick(now)
		if got := rates(m.read(now)); got != want {
			t.Errorf("after %d s: %d, want %d", 2*(i+1), got, want)
		}
	}
	for range 60 {
		now = plus(now, step)
		m.tick(now)
	}
	if got, want := rates(m.read(now)), [5]uint64{100, 200, 300, 4000, 8000}; got != want {
		t.Errorf("in the end: %d, want %d", got, want)
	}
	m.zero(now)
	now = plus(now, step)
	if got := m.read(now); got != step {
		t.Errorf("after zeroing: %+v, want %+v", got, step)
	}
}
