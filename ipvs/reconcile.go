package ipvs

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Kernel is what [Reconcile] needs: [Client] is one, so is ipvstest.Kernel.
type Kernel interface {
	Lister
	// Apply makes the changes in order and goes on after a failure; its error
	// is nil, a *BatchError, or another when nothing more could be done.
	Apply(changes iter.Seq[Change]) error
}

// ErrUnsettled: others changed the table all the time, so nothing was removed,
// and something may still be missing. Reconcile again later.
var ErrUnsettled = errors.New("others kept changing the table")

// Result tells what [Reconcile] did.
type Result struct {
	// Made are the changes that the kernel carried out, in order.
	Made []Change
	// Withheld are the changes that were not tried because they take away:
	// removals while the table is unsettled, and what would have left a service
	// with nothing because all that is wanted for it was refused.
	Withheld []Change
}

// ReconcileOptions are those of [Reconcile]. The zero value makes the kernel's table equal to the
// wanted one.
type ReconcileOptions struct {
	// KeepOthers leaves services alone that want does not name. Their
	// destinations are not even listed.
	KeepOthers bool
	// Singly has up to a few wanted services read by their keys with KeepOthers, if
	// the kernel has Client's method Service, rather than picked from a list of all:
	// what is done for one then takes no longer because there are thousands.
	Singly bool
	// DryRun plans and changes nothing: Made is what would have been done.
	DryRun bool
}

// Reconcile reads k's table, plans what want lacks, and applies it: first all
// that adds, then what takes away. A service of whose wanted destinations the
// kernel takes none keeps its old ones.
//
// It is safe while others write: what they got to first is taken as done, and
// after a conflict or lost replies it reads and plans again. Doing it twice
// changes nothing the second time. What the kernel refuses is returned as a
// *BatchError, whose indexes mean nothing, with the rest done; the error is
// [ErrUnsettled] when the table could not be read reliably.
func Reconcile(k Kernel, want Table, o ReconcileOptions) (Result, error) {
	for i := range want {
		if key := want[i].Service.ServiceKey; key.Check() != nil {
			return Result{}, &OpError{Op: "reconcile", Object: key.String(), Err: key.Check()}
		}
	}
	r := reconciler{kernel: k, want: want, dry: o.DryRun}
	if o.KeepOthers {
		r.only = want.Keys()
		r.singly = o.Singly && len(r.only) <= few
	}
	for range maxListings {
		if again, err := r.round(); !again {
			return r.Result, err
		}
	}
	return r.Result, errors.Join(r.outcome(true), fmt.Errorf("%w: gave up after %d attempts", ErrUnsettled, maxListings))
}

type reconciler struct {
	Result
	kernel Kernel
	want   Table
	only   map[ServiceKey]bool // nil: all services
	dry    bool
	singly bool // only those are read, by their keys

	unknown []Change // of the round before: whether they were made is not known

	// Of one round.
	refused []*OpError
	poor    map[ServiceKey]int  // wanted destinations with a weight that a service was refused
	without map[ServiceKey]bool // services that could not be added
	again   bool                // somebody else was at the table, or replies were lost
}

// round reads, plans and applies once. again asks for another round.
func (r *reconciler) round() (again bool, err error) {
	have, err := read(r.kernel, r.only, r.singly)
	if err != nil {
		return false, err
	}
	p := newPlan(have.Table, r.want)
	r.settleUnknown(p)
	r.Withheld, r.refused, r.again = nil, nil, false
	r.poor, r.without = make(map[ServiceKey]int), make(map[ServiceKey]bool)
	if !have.Settled {
		p.removals, r.Withheld = nil, p.removals
	}
	if r.dry {
		r.Made = slices.Concat(p.raises, p.lowers, p.removals)
		return false, r.outcome(have.Settled)
	}
	for _, list := range [...][]Change{p.raises, slices.Concat(p.lowers, p.removals)} {
		if err := r.apply(r.affordable(list)); err != nil || r.again {
			return err == nil, err
		}
	}
	return false, r.outcome(have.Settled)
}

// settleUnknown takes those changes as made whose replies were lost and that
// the new plan has no more need of.
func (r *reconciler) settleUnknown(p *planner) {
	if len(r.unknown) == 0 {
		return
	}
	planned := make(map[Change]bool)
	for _, c := range slices.Concat(p.raises, p.lowers, p.removals) {
		planned[c] = true
	}
	for _, c := range r.unknown {
		if !planned[c] {
			r.Made = append(r.Made, c)
		}
	}
	r.unknown = nil
}

// affordable withholds what would take from services that got nothing of what
// is wanted for them.
func (r *reconciler) affordable(list []Change) (rest []Change) {
	if len(r.poor) == 0 {
		return list
	}
	empty := make(map[ServiceKey]bool)
	for i := range r.want {
		key, serving := r.want[i].Service.ServiceKey, 0
		for _, d := range r.want[i].Destinations {
			if d.Weight > 0 {
				serving++
			}
		}
		empty[key] = serving > 0 && r.poor[key] >= serving
	}
	for _, c := range list {
		if empty[c.Service.ServiceKey] {
			r.Withheld = append(r.Withheld, c)
		} else {
			rest = append(rest, c)
		}
	}
	return rest
}

// apply makes changes and takes note of what became of them.
func (r *reconciler) apply(list []Change) error {
	if len(list) == 0 {
		return nil
	}
	err := r.kernel.Apply(slices.Values(list))
	var batch *BatchError
	if err != nil && !errors.As(err, &batch) {
		return err
	}
	failed := make(map[int]bool)
	if batch != nil {
		for _, f := range batch.Failed {
			failed[f.Index] = true
			r.failed(list[f.Index], f)
		}
	}
	for i, c := range list {
		if !failed[i] {
			r.Made = append(r.Made, c)
		}
	}
	return nil
}

func (r *reconciler) failed(c Change, f *OpError) {
	key := c.Service.ServiceKey
	switch {
	case errors.Is(f, ErrLost):
		r.again, r.unknown = true, append(r.unknown, c)
	case r.without[key] && errors.Is(f, ErrNoService): // as was to be expected
	case overtaken(c.Op, f):
		r.again = true
	default:
		r.refused = append(r.refused, f)
		switch {
		case c.Op == AddService:
			r.without[key] = true
		case c.Op != UpdateService && c.Destination.Weight > 0:
			r.poor[key]++
		}
	}
}

// overtaken reports whether a refusal only says that the table is no longer
// what the plan was made from.
func overtaken(op Op, err error) bool {
	if op == AddService || op == AddDestination {
		return errors.Is(err, ErrExists) || op == AddDestination && errors.Is(err, ErrNoService)
	}
	return errors.Is(err, ErrNoService) || errors.Is(err, ErrNoDestination)
}

// outcome is the error of a round that was the last.
func (r *reconciler) outcome(settled bool) error {
	var errs []error
	if len(r.refused) > 0 {
		errs = append(errs, &BatchError{r.refused})
	}
	if !settled {
		errs = append(errs, fmt.Errorf("%w while it was read: nothing was removed (%d to go)", ErrUnsettled, len(r.Withheld)))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
