package director

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// newGlobals sets what belongs to the table as a whole, timeouts and sync
// daemons, by a setup that is new.
func (s *state) newGlobals() {
	s.noTimeouts, s.noSync = refusal{}, refusal{}
	if want := s.setup.Settings.Timeouts; want != (ipvs.Timeouts{}) && s.d.o.Proxy != nil {
		s.d.o.Proxy.SetTimeouts(want)
	}
	s.globals()
}

// globals puts them right: others may have changed them, the kernel's IPVS may
// have come anew, an interface may be there at last. A failure is said once, is
// tried again less and less often, and does not keep the services from running.
func (s *state) globals() {
	s.try(&s.noTimeouts, s.setTimeouts)
	s.try(&s.noSync, s.syncDaemons)
}

func (s *state) try(no *refusal, f func() error) {
	if s.d.now().Before(no.again) {
		return
	}
	text := ""
	if err := f(); err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if no.set(s.d.now(), text) && text != "" {
		s.emit(Event{Kind: KernelRefused, Reason: text})
	}
}

func (s *state) setTimeouts() error {
	want := s.setup.Settings.Timeouts
	if want == (ipvs.Timeouts{}) {
		return nil
	}
	have, err := s.d.o.Kernel.Timeouts()
	if err == nil && within(want, have) {
		return nil
	}
	if err = s.d.o.Kernel.SetTimeouts(want); err != nil {
		return err
	}
	s.emit(Event{Kind: TimeoutsSet, Reason: fmt.Sprint("tcp ", want.TCP, ", tcp_fin ", want.TCPFin, ", udp ", want.UDP)})
	return nil
}

// within reports whether have is what want asks for; zeros ask for nothing.
func within(want, have ipvs.Timeouts) bool {
	return (want.TCP == 0 || want.TCP == have.TCP) && (want.TCPFin == 0 || want.TCPFin == have.TCPFin) &&
		(want.UDP == 0 || want.UDP == have.UDP)
}

// syncDaemons starts the sync daemons of the setup, and stops those that we
// started and that it no longer has. Others are not ours.
func (s *state) syncDaemons() error {
	want := s.setup.Settings.Sync
	if len(want)+len(s.daemons) == 0 {
		return nil
	}
	running, err := s.d.o.Kernel.Daemons()
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range s.daemons {
		is := func(r ipvs.Daemon) bool { return sameDaemon(r, old) }
		if !slices.Contains(want, old) && slices.ContainsFunc(running, is) {
			errs = append(errs, s.stopDaemon(old))
			running = slices.DeleteFunc(running, is)
		}
	}
	for _, d := range want {
		errs = append(errs, s.startDaemon(d, running))
	}
	if !slices.Equal(s.daemons, want) {
		s.daemons, s.unsaved = want, true
	}
	return errors.Join(errs...)
}

// sameDaemon reports whether a daemon that runs is one of the setup: what a setup
// leaves to the kernel, the kernel tells.
func sameDaemon(running, d ipvs.Daemon) bool {
	return running.State == d.State && running.Interface == d.Interface && running.SyncID == d.SyncID
}

func (s *state) startDaemon(d ipvs.Daemon, running []ipvs.Daemon) error {
	for _, r := range running {
		if r.State != d.State {
			continue
		}
		if sameDaemon(r, d) {
			return nil
		}
		if err := s.stopDaemon(r); err != nil {
			return err
		}
	}
	if err := s.d.o.Kernel.StartDaemon(d); err != nil && !errors.Is(err, ipvs.ErrExists) {
		return err
	}
	s.emit(Event{Kind: SyncStarted, Reason: fmt.Sprint(d.State, " on ", d.Interface)})
	return nil
}

func (s *state) stopDaemon(d ipvs.Daemon) error {
	if err := s.d.o.Kernel.StopDaemon(d); err != nil && !errors.Is(err, ipvs.ErrNoDaemon) {
		return err
	}
	s.emit(Event{Kind: SyncStopped, Reason: fmt.Sprint(d.State, " on ", d.Interface)})
	return nil
}
