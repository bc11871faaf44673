package sched

import (
	"math/rand/v2"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
)

// rounds is wrr as the kernel does it, round by round (ip_vs_wrr_schedule): what
// choose has to give without the rounds.
func (w *wrr) rounds() *Server {
	if w.max == 0 {
		return nil
	}
	last, stop, lastPass, restarted := w.cur, -1, false, false
	for i := w.cur; ; {
		for i++; i < len(w.list); i++ {
			if d := w.list[i]; !d.overloaded && d.weight >= w.cw {
				w.cur = i
				return d
			}
			if i == stop {
				w.cur = i
				return nil
			}
		}
		i = -1
		if w.cw -= w.step; w.cw <= 0 {
			w.cw = w.top()
			if lastPass || last < 0 {
				w.cur = -1
				return nil
			}
			restarted = true
		}
		if lastPass = w.cw <= w.step; lastPass && restarted && last >= 0 {
			stop = last
		}
	}
}

func TestWRRIsTheKernels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		scale := int32(1 + rnd.IntN(4))
		b := newBench(t, ipvs.Service{Scheduler: "wrr"})
		weight := func() int32 { return scale * int32(rnd.IntN(9)) }
		for i := range 1 + rnd.IntN(6) {
			b.must(b.AddServer(0, server(i, weight())))
		}
		slow := *b.scheduler.(*wrr)
		for step := range 200 {
			fast := b.scheduler.(*wrr)
			d := b.list[rnd.IntN(len(b.list))]
			switch p := rnd.IntN(10); {
			case p == 0:
				b.must(b.UpdateServer(0, ipvs.Destination{Addr: d.config.Addr, Weight: weight()}))
				slow.updated()
			case p < 4:
				d.overloaded = !d.overloaded
			default:
				want, got := slow.rounds(), fast.choose(client, web)
				if want != got || slow.cur != fast.cur || slow.cw != fast.cw {
					t.Fatalf("step %d: got %v at %d level %d, want %v at %d level %d", step, got, fast.cur, fast.cw, want, slow.cur, slow.cw)
				}
			}
		}
	}
}
