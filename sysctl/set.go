package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Setting is a knob and the value it shall have.
type Setting struct {
	Knob  Knob
	Value string
}

// Change is what Set did: all it takes to undo it, in a form that can be kept
// in a file.
type Change struct {
	Knob Knob   `json:"knob"`
	Old  string `json:"old"`
	New  string `json:"new"` // equal to Old where nothing had to be done
	// Also are the knobs that the kernel changed along with this one: the
	// forwarding of every interface with ip_forward.
	Also []Change `json:"also,omitempty"`
}

// None is true where the knob had the value already.
func (c Change) None() bool { return c.Old == c.New }

// Get returns the value of a knob, its fields separated by one blank.
func (n Netns) Get(k Knob) (value string, err error) {
	err = n.Do(func() error { value, err = n.read(k); return err })
	return value, err
}

// Set gives a knob a value, unless it has it. A failed Set has changed nothing.
func (n Netns) Set(k Knob, value string) (c Change, err error) {
	err = n.Do(func() error { c, err = n.set(k, value); return err })
	return c, err
}

// Preview is the Change that Set would return.
func (n Netns) Preview(k Knob, value string) (c Change, err error) {
	err = n.Do(func() error { c, err = n.preview(k, value); return err })
	return c, err
}

// SetAll makes settings in their order, all or none: when one fails, those
// before it are undone.
func (n Netns) SetAll(settings ...Setting) (changes []Change, err error) {
	for _, s := range settings {
		c, err := n.Set(s.Knob, s.Value)
		if err != nil {
			return nil, errors.Join(err, n.UndoAll(changes))
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Undo puts back what Set replaced. It fails with ErrChanged, and does nothing,
// when the knob has neither the new value nor the old one. A knob whose
// interface is gone needs no undoing.
func (n Netns) Undo(c Change) error {
	return n.Do(func() error { return n.undo(c) })
}

// UndoAll undoes changes, the last one first, and goes on after an error.
func (n Netns) UndoAll(changes []Change) error {
	var errs []error
	for _, c := range slices.Backward(changes) {
		errs = append(errs, n.Undo(c))
	}
	return errors.Join(errs...)
}

// File is the path of a knob.
func (n Netns) File(k Knob) string {
	root := n.Root
	if root == "" {
		root = "/proc/sys"
	}
	return filepath.Join(root, string(k))
}

func (n Netns) read(k Knob) (string, error) {
	b, err := os.ReadFile(n.File(k))
	if err != nil {
		return "", &OpError{Op: "read", Knob: k, Err: cause(err)}
	}
	return Normal(string(b)), nil
}

// write opens without creating or truncating: what is missing is an error.
func (n Netns) write(op string, k Knob, value string) error {
	f, err := os.OpenFile(n.File(k), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return &OpError{Op: op, Knob: k, Arg: value, Err: cause(err)}
	}
	return nil
}

func (n Netns) preview(k Knob, value string) (Change, error) {
	old, err := n.read(k)
	if err != nil {
		return Change{}, err
	}
	c := Change{Knob: k, Old: old, New: Normal(value)}
	if c.None() {
		return c, nil
	}
	others, err := n.values(n.companions(k))
	for _, s := range others {
		if will := along(s.Knob, c.New); will != s.Value {
			c.Also = append(c.Also, Change{Knob: s.Knob, Old: s.Value, New: will})
		}
	}
	return c, err
}

func (n Netns) set(k Knob, value string) (Change, error) {
	c, err := n.preview(k, value)
	if err != nil || c.None() {
		return c, err
	}
	if err := n.write("set", k, c.New); err != nil {
		return Change{}, err
	}
	if now, err := n.read(k); err == nil { // 01 is 1 to the kernel
		c.New = now
	}
	return c, nil
}

func (n Netns) undo(c Change) error {
	now, err := n.read(c.Knob)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case now == c.Old:
		return nil
	case now != c.New:
		return &OpError{Op: "undo", Knob: c.Knob, Arg: c.Old, Err: ErrChanged}
	}
	also, err := n.before(c)
	if err != nil {
		return err
	}
	if err := n.write("undo", c.Knob, c.Old); err != nil {
		return err
	}
	var errs []error
	for _, s := range also {
		errs = append(errs, n.putBack(s))
	}
	return errors.Join(errs...)
}

// before is what the companions shall be after an undo: what they were before
// the change, or what they are now if they did not change with it or somebody
// else has set them since.
func (n Netns) before(c Change) ([]Setting, error) {
	now, err := n.values(n.companions(c.Knob))
	for i, s := range now {
		for _, a := range c.Also {
			if a.Knob == s.Knob && a.New == s.Value {
				now[i].Value = a.Old
			}
		}
	}
	return now, err
}

func (n Netns) putBack(s Setting) error {
	now, err := n.read(s.Knob)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now == s.Value {
		return nil
	}
	if err != nil {
		return err
	}
	return n.write("undo", s.Knob, s.Value)
}

// Normal is a value as Get returns it: the kernel separates by tabs.
func Normal(value string) string { return strings.Join(strings.Fields(value), " ") }

// cause drops the path, which the OpError names as a knob.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
