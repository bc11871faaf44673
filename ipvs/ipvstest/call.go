package ipvstest

import (
	"errors"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// Call is one operation on its way to the kernel.
type Call struct {
	// Op and Object are what an ipvs.OpError says: "add service",
	// "tcp 192.0.2.1:80 wlc".
	Op, Object string
	// Index is the change's position in Apply.
	Index int
	// Resumed says that a listing is under way and about to go on.
	Resumed bool

	change ipvs.Change
	bad    error // why no kernel is asked at all
}

// OnCall has f called before each operation of k, and when a listing resumes
// after each [Options.Chunk] entries. No lock is held: f may change the table
// through [Kernel.Other], as another process could at that moment. nil ends it.
func (k *Kernel) OnCall(f func(Call)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hook = f
}

func (k *Kernel) before(c Call) {
	k.mu.Lock()
	f := k.hook
	k.mu.Unlock()
	if f != nil {
		f(c)
	}
}

// enter is what every operation meets first: the hook, then a fault.
func (k *Kernel) enter(c Call) Fault {
	k.before(c)
	return k.hit(c)
}

// run is the one door to the table.
func (k *Kernel) run(c Call, f func(*state) unix.Errno) error {
	if c.bad != nil {
		return failure(c, c.bad)
	}
	return k.state.answer(c, k.enter(c), f)
}

func (s *state) answer(c Call, fault Fault, f func(*state) unix.Errno) error {
	if fault.Err == nil {
		return s.run(c, f)
	}
	if fault.Done {
		_ = s.run(c, f) // done or refused, nobody will know
	}
	return fault.failure(c)
}

func (s *state) run(c Call, f func(*state) unix.Errno) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.absent {
		return failure(c, ipvs.ErrNoIPVS)
	}
	if errno := f(s); errno != 0 {
		return failure(c, reason(c, errno))
	}
	return nil
}

// dump is a listing, appended to buf. As in the kernel it goes by position
// (ip_vs_genl_dump_dests keeps an index between chunks), so that entries are
// missing or come twice when others delete and insert meanwhile; those that
// come twice are left out, as ipvs.Client does. A service that goes away during
// a listing just ends it.
func dump[T any, K comparable](k *Kernel, c Call, buf []T, list func(*state) ([]T, unix.Errno), id func(T) K) ([]T, error) {
	if c.bad != nil {
		return buf, failure(c, c.bad)
	}
	var rows, out []T
	chunk := func(s *state) (errno unix.Errno) { rows, errno = list(s); return errno }
	fault := k.enter(c)
	if err := k.state.answer(c, fault, chunk); err != nil {
		return buf, err
	}
	seen := make(map[K]bool, len(rows))
	for at := 0; ; {
		end := max(at, min(at+k.state.machine.Chunk, len(rows)))
		for ; at < end; at++ {
			if !seen[id(rows[at])] {
				seen[id(rows[at])] = true
				out = append(out, rows[at])
			}
		}
		if end >= len(rows) {
			return append(buf, pick(out, fault.Show)...), nil
		}
		c.Resumed, rows = true, nil
		k.before(c)
		if err := k.state.run(c, chunk); err != nil && !errors.Is(err, ipvs.ErrNoService) {
			return buf, err
		}
	}
}

func pick[T any](rows []T, show func(int) []int) []T {
	if show == nil {
		return rows
	}
	var out []T
	for _, i := range show(len(rows)) {
		out = append(out, rows[i])
	}
	return out
}

func failure(c Call, err error) error {
	return &ipvs.OpError{Op: c.Op, Object: c.Object, Index: c.Index, Err: err}
}
