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

// ErrUnsettled: others changed the table all the time, so what should have been
// removed was left alone.
var ErrUnsettled = errors.New("the table kept changing while it was read; nothing was removed")

// Result tells what [Reconcile] did.
type Result struct {
	// Made are the changes that the kernel carried out, in order.
	Made []Change
	// Withheld are the removals that were not tried, see ErrUnsettled.
	Withheld []Change
}

// Options of [Reconcile]. The zero value makes the kernel's table equal to the
// wanted one.
type ReconcileOptions struct {
	// KeepOthers leaves services alone that want does not name.
	KeepOthers bool
	// DryRun plans and changes nothing: Made is what would have been done.
	DryRun bool
}

// Reconcile reads k's table, plans what want lacks, and applies it. It is safe
// while others write: what they got to first is taken as done, and after a
// conflict it reads and plans again. Doing it twice changes nothing the second
// time. What the kernel refuses is returned as a *BatchError, with the rest done.
func Reconcile(k Kernel, want Table, o ReconcileOptions) (Result, error) {
	var r Result
	for range maxListings {
		plan, err := r.plan(k, want, o)
		if err != nil {
			return r, err
		}
		if o.DryRun {
			r.Made = plan
			return r, r.withheld()
		}
		again, err := r.apply(k, plan)
		if err != nil {
			return r, err
		}
		if !again {
			return r, r.withheld()
		}
	}
	return r, ErrUnsettled
}

func (r *Result) plan(k Kernel, want Table, o ReconcileOptions) (plan []Change, err error) {
	have, err := Read(k)
	if err != nil {
		return nil, err
	}
	if o.KeepOthers {
		want = Keep(have.Table, want)
	}
	plan, r.Withheld = Plan(have.Table, want), nil
	if !have.Settled {
		plan, r.Withheld = AddsOnly(plan)
	}
	return plan, nil
}

func (r *Result) withheld() error {
	if len(r.Withheld) > 0 {
		return fmt.Errorf("%w (%d to go)", ErrUnsettled, len(r.Withheld))
	}
	return nil
}

// apply makes the changes of a plan. again asks for another look: somebody
// else was at the table, or replies were lost.
func (r *Result) apply(k Kernel, plan []Change) (again bool, err error) {
	if len(plan) == 0 {
		return false, nil
	}
	err = k.Apply(slices.Values(plan))
	var batch *BatchError
	if err != nil && !errors.As(err, &batch) {
		return false, err
	}
	var refused []*OpError
	failed := make(map[int]bool)
	if batch != nil {
		for _, f := range batch.Failed {
			failed[f.Index] = true
			switch {
			case errors.Is(f, ErrLost):
				return true, nil // which were made is unknown: read again
			case overtaken(plan[f.Index].Op, f):
				again = true
			default:
				refused = append(refused, f)
			}
		}
	}
	for i, c := range plan {
		if !failed[i] {
			r.Made = append(r.Made, c)
		}
	}
	if len(refused) > 0 {
		return false, &BatchError{refused}
	}
	return again, nil
}

// overtaken reports whether a refusal only says that the table is no longer
// what the plan was made from.
func overtaken(op Op, err error) bool {
	if op == AddService || op == AddDestination {
		return errors.Is(err, ErrExists) || op == AddDestination && errors.Is(err, ErrNoService)
	}
	return errors.Is(err, ErrNoService) || errors.Is(err, ErrNoDestination)
}
