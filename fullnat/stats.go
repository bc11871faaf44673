package fullnat

import "time"

// estimate feeds the meters until the engine ends.
func (e *Engine) estimate() {
	t := time.NewTicker(estimateEvery)
	defer t.Stop()
	for {
		select {
		case <-e.quit:
			return
		case <-t.C:
			e.mu.Lock()
			for _, svc := range e.services {
				svc.tick()
			}
			e.mu.Unlock()
		}
	}
}

func (svc *service) tick() {
	sum := svc.gone
	for _, d := range svc.servers {
		n := total(d.shares)
		d.meter.tick(n)
		sum = plus(sum, n)
	}
	svc.meter.tick(sum)
}
