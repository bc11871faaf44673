package sched

import "net/netip"

// wrr goes round the list once for every weight there can be, from the highest
// (max) down by the greatest common divisor (step): a round at level cw takes the
// servers whose weight is cw or more (ip_vs_wrr.c). The divisor is subtracted
// from the highest level so that the last round is at level 1.
type wrr struct {
	stateless
	cur  int   // position of the last choice, -1 before the first server
	cw   int32 // level of the present round, 0 while there are no weights
	max  int32 // greatest weight, 0 if none
	step int32 // greatest common divisor of the weights that are not 0, 0 if none
}

// newWRR starts at the top. A service that is new gets its servers one by one,
// and changed leaves it at a lower level after the first.
func newWRR(s *Service) scheduler {
	w := &wrr{stateless: stateless{s}, cur: -1}
	w.measure()
	w.cw = w.top()
	return w
}

// top is the level of the first round.
func (w *wrr) top() int32 { return w.max - max(w.step, 1) + 1 }

func (w *wrr) measure() {
	w.max, w.step = 0, 0
	for _, d := range w.list {
		w.weigh(d.weight)
	}
}

func (w *wrr) weigh(weight int32) {
	w.max, w.step = max(w.max, weight), gcd(w.step, weight)
}

func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (w *wrr) added()      { w.weigh(w.list[0].weight); w.changed() }
func (w *wrr) updated()    { w.measure(); w.changed() }
func (w *wrr) deleted(int) { w.measure(); w.changed() }

// changed keeps the level, fitted to the new weights (ip_vs_wrr_dest_changed).
func (w *wrr) changed() {
	w.cur = -1
	if top := w.top(); w.cw > top || w.cw == 0 {
		w.cw = top
	} else if w.step > 1 {
		w.cw = w.cw/w.step*w.step + 1
	}
}

// choose gives the kernel's result without its rounds in which nobody can be
// chosen, of which there may be as many as the greatest weight: when the rest of
// the present round has nobody, the level goes down to where the best server is
// that may be chosen at all.
func (w *wrr) choose(_, _ netip.AddrPort) *Server {
	if w.max == 0 {
		return nil
	}
	if d := w.find(w.cur + 1); d != nil {
		return d
	}
	best := w.best()
	if best == 0 {
		w.fail()
		return nil
	}
	if w.cw -= w.step; w.cw <= 0 {
		w.cw = w.top()
	}
	if over := w.cw - best; over > 0 {
		w.cw -= (over + w.step - 1) / w.step * w.step
	}
	return w.find(0)
}

// find looks for the next server of the present round, from position i on.
func (w *wrr) find(i int) *Server {
	for ; i < len(w.list); i++ {
		if d := w.list[i]; !d.overloaded && d.weight >= w.cw {
			w.cur = i
			return d
		}
	}
	return nil
}

// best is the greatest weight among servers that may be chosen, 0 if none.
func (w *wrr) best() (weight int32) {
	for _, d := range w.list {
		if !d.overloaded {
			weight = max(weight, d.weight)
		}
	}
	return weight
}

// fail is the state after nobody was found: begin anew, except that a search
// that started within the last round ends where it started.
func (w *wrr) fail() {
	if w.cur < 0 || w.cw > w.step {
		w.cur, w.cw = -1, w.top()
	}
}
