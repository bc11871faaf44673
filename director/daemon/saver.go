package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/store"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

// state is what the state file holds.
type state struct {
	director.Persistent
	Addresses map[string]netip.Addr // of host names, the last that were good
	Services  []fullnat.Service     // that full NAT in user space serves
	VIPs      map[string]string     // that we added, and their interfaces
	Rules     []string              // that make the services of commands
	Timeouts  ipvs.Timeouts         // of full NAT, by --set; where there is IPVS its own count
	Sysctls   []sysctl.Change       // that we made, to be undone
}

// saver writes the state file on a goroutine of its own, so that a slow disk
// holds up nobody: only the latest state counts.
type saver struct {
	store store.Store
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	done    *sync.Cond
	state   state
	wanted  int // states that were put
	written int // up to which of them the file has, or has failed to take
	err     error
	failing bool
	retired bool // the file is another process's

	// services are those that full NAT in user space serves, asked for when they
	// are written; nil: those of state.
	services func() []fullnat.Service
	lazy     *time.Timer // a write that nobody waits for

	file sync.Mutex // held while it is written
}

func newSaver(s store.Store, now state, log *slog.Logger) *saver {
	v := &saver{store: s, log: log, wake: make(chan struct{}, 1), state: now}
	v.done = sync.NewCond(&v.mu)
	return v
}

// put takes a state to be written; it does not wait.
func (s *saver) put(p director.Persistent) {
	s.change(func(st *state) { st.Persistent = p })
}

func (s *saver) change(f func(*state)) {
	s.mu.Lock()
	f(&s.state)
	s.wanted++
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// laziness is how long what nobody waits for may wait for more of it.
const laziness = time.Second

// later has the services of full NAT in user space be written, soon.
func (s *saver) later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lazy == nil {
		s.lazy = time.AfterFunc(laziness, func() {
			s.mu.Lock()
			s.lazy = nil
			s.mu.Unlock()
			s.change(func(*state) {})
		})
	}
}

// flush waits until what was put before is in the file, or cannot be put there.
func (s *saver) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for target := s.wanted; s.written < target; {
		s.done.Wait()
	}
	return s.err
}

// run writes until ctx ends, and then what is left. What the disk did not take is
// tried again without anything new: an operator who has made room should not have
// to say again what he said before.
func (s *saver) run(ctx context.Context) {
	again := time.NewTicker(againAfter)
	defer again.Stop()
	for {
		select {
		case <-s.wake:
			s.write()
		case <-again.C:
			if s.unwritten() {
				s.write()
			}
		case <-ctx.Done():
			s.write()
			return
		}
	}
}

// retire leaves the file to another process, and returns what it should have.
func (s *saver) retire(p director.Persistent) state {
	s.file.Lock() // what is being written is older
	defer s.file.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	st := s.state
	st.Persistent = p
	return st
}

// left reports whether the file is another process's.
func (s *saver) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}

// goOn undoes retire.
func (s *saver) goOn() {
	s.mu.Lock()
	s.retired = false
	s.mu.Unlock()
	s.change(func(*state) {})
}

// unwritten: the file does not have what it should.
func (s *saver) unwritten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing
}

func (s *saver) write() {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	n, st, retired := s.wanted, s.state, s.retired
	s.mu.Unlock()
	var err error
	if !retired {
		if s.services != nil {
			st.Services = s.services()
		}
		err = s.store.Save(stateFile(st))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written, s.err = n, err
	s.done.Broadcast()
	switch {
	case err != nil && !s.failing:
		s.log.Error("the state file cannot be written, overrides will not survive a restart", "event", director.StateUnsaved.Name, "err", err)
	case err == nil && s.failing:
		s.log.Info("the state file can be written again", "event", director.StateSaved.Name)
	}
	s.failing = err != nil
}
