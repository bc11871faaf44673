package director

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// globals sets what belongs to the table as a whole: timeouts and sync daemons.
// A failure is said and does not keep the services from running.
func (s *state) globals() {
	s.setTimeouts()
	s.syncDaemons()
}

func (s *state) setTimeouts() {
	want := s.setup.Settings.Timeouts
	if want == (ipvs.Timeouts{}) {
		return
	}
	if s.d.o.Proxy != nil {
		s.d.o.Proxy.SetTimeouts(want)
	}
	have, err := s.d.o.Kernel.Timeouts()
	if err == nil && within(want, have) {
		return
	}
	if err = s.d.o.Kernel.SetTimeouts(want); err != nil {
		s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
		return
	}
	s.emit(Event{Kind: TimeoutsSet, Reason: fmt.Sprint("tcp ", want.TCP, ", tcp_fin ", want.TCPFin, ", udp ", want.UDP)})
}

// within reports whether have is what want asks for; zeros ask for nothing.
func within(want, have ipvs.Timeouts) bool {
	return (want.TCP == 0 || want.TCP == have.TCP) && (want.TCPFin == 0 || want.TCPFin == have.TCPFin) &&
		(want.UDP == 0 || want.UDP == have.UDP)
}

// syncDaemons starts the sync daemons of the setup, and stops those that we
// started and that it no longer has. Others are not ours.
func (s *state) syncDaemons() {
	running, err := s.d.o.Kernel.Daemons()
	if err != nil {
		s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
		return
	}
	want := s.setup.Settings.Sync
	for _, old := range s.daemons {
		if !slices.Contains(want, old) {
			s.stopDaemon(old)
			running = slices.DeleteFunc(running, func(r ipvs.Daemon) bool { return r.State == old.State })
		}
	}
	for _, d := range want {
		s.startDaemon(d, running)
	}
	s.daemons = want
}

func (s *state) startDaemon(d ipvs.Daemon, running []ipvs.Daemon) {
	for _, r := range running {
		if r.State != d.State {
			continue
		}
		if r.Interface == d.Interface && r.SyncID == d.SyncID {
			return
		}
		s.stopDaemon(r)
	}
	if err := s.d.o.Kernel.StartDaemon(d); err != nil && !errors.Is(err, ipvs.ErrExists) {
		s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
		return
	}
	s.emit(Event{Kind: SyncStarted, Reason: fmt.Sprint(d.State, " on ", d.Interface)})
}

func (s *state) stopDaemon(d ipvs.Daemon) {
	if err := s.d.o.Kernel.StopDaemon(d); err != nil && !errors.Is(err, ipvs.ErrNoDaemon) {
		s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
		return
	}
	s.emit(Event{Kind: SyncStopped, Reason: fmt.Sprint(d.State, " on ", d.Interface)})
}
