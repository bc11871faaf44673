package tune

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/record"
)

// Host is a director. The zero value is this host.
type Host struct {
	Netns  sysctl.Netns
	Dir    string // of the record; empty is record.Dir
	DryRun bool   // tell what would be done, do nothing
}

// State is a knob and its value.
type State struct {
	About
	Value string `json:"value"`
	// Was is what Undo puts back; empty where we changed nothing.
	Was string `json:"was,omitempty"`
}

const recordName = "tune"

// Show tells the values of knobs, of all without names. Those that this kernel
// lacks are left out, unless they are asked for.
func (h Host) Show(which ...About) (all []State, err error) {
	h.DryRun = true
	asked := len(which) > 0
	if !asked {
		which = knobs
	}
	err = h.with(func(done []sysctl.Change, _ saver) error {
		for _, a := range which {
			v, err := h.knobs().Get(a.Knob)
			if errors.Is(err, fs.ErrNotExist) && !asked {
				continue
			}
			if err != nil {
				return err
			}
			s := State{About: a, Value: v}
			if i := find(done, a.Knob); i >= 0 && done[i].New == v {
				s.Was = done[i].Old
			}
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// Set makes settings, all or none, and remembers what was before the first of
// them.
func (h Host) Set(settings ...sysctl.Setting) (changes []sysctl.Change, err error) {
	err = h.with(func(done []sysctl.Change, save saver) error {
		for _, s := range settings {
			c, err := h.knobs().Preview(s.Knob, s.Value)
			if err != nil {
				return err
			}
			changes = append(changes, c)
		}
		if h.DryRun {
			return nil
		}
		// Before anything is changed, so that it can be undone if we are killed.
		if err := save(remember(slices.Clone(done), changes)); err != nil {
			return err
		}
		made, err := h.knobs().SetAll(settings...)
		if err != nil {
			changes = nil
			return errors.Join(err, save(done))
		}
		changes = made
		return save(remember(done, made))
	})
	return changes, err
}

// remember adds changes to those that were made before: of each knob the oldest
// value that was not ours, and the newest that is.
func remember(done, changes []sysctl.Change) []sysctl.Change {
	for _, c := range changes {
		i := find(done, c.Knob)
		switch {
		case i < 0 && c.None():
		case i < 0:
			done = append(done, c)
		case done[i].New != c.Old && !c.None(): // somebody else's since
			done[i] = c
		default:
			done[i].New = c.New
			done[i].Also = merge(done[i].Also, c.Also)
		}
	}
	return done
}

func merge(older, newer []sysctl.Change) []sysctl.Change {
	older = slices.Clone(older)
	for _, c := range newer {
		if i := find(older, c.Knob); i >= 0 {
			older[i].New = c.New
		} else {
			older = append(older, c)
		}
	}
	return older
}

// Undo puts knobs back, all that were set without names. Those that somebody
// changed since are left alone and forgotten; they are kept.
func (h Host) Undo(which ...About) (undone, kept []sysctl.Change, err error) {
	err = h.with(func(done []sysctl.Change, save saver) error {
		var left []sysctl.Change
		for _, c := range slices.Backward(done) {
			if len(which) > 0 && !slices.ContainsFunc(which, func(a About) bool { return a.Knob == c.Knob }) {
				left = append(left, c)
				continue
			}
			now, err := h.knobs().Get(c.Knob)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err == nil && !h.DryRun {
				err = h.knobs().Undo(c)
			}
			switch {
			case errors.Is(err, fs.ErrNotExist), err == nil && now == c.Old: // gone, or put back already
			case errors.Is(err, sysctl.ErrChanged), err == nil && now != c.New:
				kept = append(kept, sysctl.Change{Knob: c.Knob, Old: now, New: now})
			case err != nil:
				return err
			default:
				undone = append(undone, sysctl.Change{Knob: c.Knob, Old: now, New: c.Old})
			}
		}
		slices.Reverse(left)
		return save(left)
	})
	return undone, kept, err
}

func find(list []sysctl.Change, k sysctl.Knob) int {
	return slices.IndexFunc(list, func(c sysctl.Change) bool { return c.Knob == k })
}

func (h Host) knobs() sysctl.Netns { return sysctl.Netns{Root: h.Netns.Root} }

type saver func([]sysctl.Change) error

func (h Host) with(f func([]sysctl.Change, saver) error) error {
	return h.Netns.Do(func() error {
		var done []sysctl.Change
		if h.DryRun {
			if err := record.Peek(h.Dir, recordName, &done); err != nil {
				return err
			}
			if err := check(done); err != nil {
				return err
			}
			return f(done, func([]sysctl.Change) error { return nil })
		}
		file, err := record.Open(h.Dir, recordName, &done)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := check(done); err != nil {
			return err
		}
		return f(done, func(done []sysctl.Change) error {
			if len(done) == 0 {
				return file.Save(nil)
			}
			return file.Save(done)
		})
	})
}

// check refuses a record of knobs that are not ours.
func check(done []sysctl.Change) error {
	for _, c := range done {
		a, err := Find(c.Knob.String())
		if err == nil && !a.check(c.Old) {
			err = fmt.Errorf("%s=%s: it takes %s", a.Name(), c.Old, a.Values)
		}
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		for _, also := range c.Also {
			if _, _, name, ok := also.Knob.Conf(); !ok || name != "forwarding" && name != "accept_redirects" {
				return fmt.Errorf("record: %s does not change along with %s", also.Knob, c.Knob)
			}
		}
	}
	return nil
}
