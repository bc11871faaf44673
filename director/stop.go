package director

import (
	"errors"
	"time"
)

// stop does with our services what the setup says. Keep leaves them to
// the kernel, which goes on without us.
func (s *state) stop() error {
	s.emit(Event{Kind: Stopping})
	var err error
	switch s.setup.Settings.OnStop {
	case StopFlush:
		err = s.flush()
		s.stopDaemons()
	case StopDrain:
		err = s.drainAll()
		s.stopDaemons()
	}
	s.trackAgain()
	s.handOutVIPs()
	s.emit(Event{Kind: Stopped})
	return err
}

// stopDaemons stops the sync daemons of the setup.
func (s *state) stopDaemons() {
	for _, d := range s.daemons {
		if err := s.stopDaemon(d); err != nil {
			s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
		}
	}
	s.daemons = nil
}

// flush removes our services and nothing else.
func (s *state) flush() error {
	var errs []error
	var all []*service
	for _, key := range s.keys() {
		all = append(all, s.services[key])
	}
	failed := s.remove(all)
	for _, key := range s.keys() {
		if err := failed[key]; err != nil {
			errs = append(errs, err)
			continue
		}
		delete(s.services, key)
	}
	s.keepSourceNAT(false)
	s.save()
	return errors.Join(errs...)
}

// drainAll has all services drained and then removed. Those without a drain of
// their own take as long as their connections do. Health no longer matters.
// It ends early when the operator has no more patience (Options.Abort).
func (s *state) drainAll() error {
	s.stopping = true
	var until time.Time // the last drain that has an end of its own
	for _, v := range s.services {
		if end := s.d.now().Add(v.Drain); v.Drain > 0 && end.After(until) {
			until = end
		}
		if v.gone {
			continue
		}
		if v.Drain == 0 {
			v.Drain = forever
		}
		v.leave(s)
	}
	tick := time.NewTicker(idleTick)
	defer tick.Stop()
	for s.tick(nil); len(s.services) > 0; s.tick(nil) {
		s.d.o.Draining(len(s.services), max(until.Sub(s.d.now()), 0))
		select {
		case <-tick.C:
		case f := <-s.d.inbox:
			f(s)
		case answer := <-s.d.asked:
			answer(s)
		case <-s.d.o.Abort:
			return errors.Join(s.lost, s.flush())
		}
		s.d.o.Beat()
	}
	return s.lost
}
