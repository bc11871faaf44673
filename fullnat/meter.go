package fullnat

import (
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// estimateEvery is how often the kernel's estimator looks (ip_vs_est.c).
const estimateEvery = 2 * time.Second

// meter turns counts into what the kernel reports: counts since the last
// zeroing, and rates by ip_vs_est.c, an average that moves by a quarter of the
// difference every two seconds. In fixed point as there, so that the numbers
// round as there.
type meter struct {
	base, last ipvs.Stats
	rate       ipvs.Stats // scaled: connections and packets by 2^10, bytes by 2^5
}

// tick is told the counts every estimateEvery.
func (m *meter) tick(now ipvs.Stats) {
	d := minus(now, m.last)
	m.last = now
	move(&m.rate.CPS, d.Conns, 9)
	move(&m.rate.InPPS, d.InPkts, 9)
	move(&m.rate.OutPPS, d.OutPkts, 9)
	move(&m.rate.InBPS, d.InBytes, 4)
	move(&m.rate.OutBPS, d.OutBytes, 4)
}

func move(average *uint64, n uint64, shift uint) {
	*average += uint64(int64(n<<shift-*average) >> 2)
}

// read is what a listing shows when the counts are now.
func (m *meter) read(now ipvs.Stats) ipvs.Stats {
	s := minus(now, m.base)
	s.CPS = (m.rate.CPS + 0x1ff) >> 10
	s.InPPS = (m.rate.InPPS + 0x1ff) >> 10
	s.OutPPS = (m.rate.OutPPS + 0x1ff) >> 10
	s.InBPS = (m.rate.InBPS + 0xf) >> 5
	s.OutBPS = (m.rate.OutBPS + 0xf) >> 5
	return s
}

func (m *meter) zero(now ipvs.Stats) { *m = meter{base: now, last: now} }
