package ipvs

import (
	"fmt"
	"iter"
)

// pending is a change on its way.
type pending struct {
	ch  Change
	err error // why it was not made, or not known to be
}

// opApply is the Op of the error that says Apply stopped early.
const opApply = "apply changes"

// Apply makes changes in their order, many in one system call, and goes on
// after one that fails: nil when all were made, otherwise a [*BatchError] that
// lists those that were not. A change that cannot be put to the kernel counts
// as refused. [ErrLost] marks changes whose fate is unknown because the
// kernel's answers were lost; read the table to know.
//
// Apply stops where going on is pointless: IPVS is gone, the capability is
// missing, or the client is closed. Then the error is an [*OpError] whose Op is
// "apply changes": nothing from its Index on was made, and what it says of the
// changes before is for people only.
//
// There is no atomicity: the kernel has none to offer. Other users of the
// client may get in between after some hundred changes.
//
// The sequence is read without any lock held and may use the client.
func (c *Client) Apply(changes iter.Seq[Change]) error {
	var (
		failed []*OpError
		batch  []pending
		base   int
		stop   error
	)
	flush := func() bool {
		var at int
		at, stop = c.apply(batch)
		failed = appendFailed(failed, batch[:at], base)
		base += at
		batch = batch[:0]
		return stop == nil
	}
	for ch := range changes {
		batch = append(batch, pending{ch: ch})
		if len(batch) == batchOps && !flush() {
			break
		}
	}
	if stop == nil {
		flush()
	}
	if stop != nil {
		if failed != nil {
			stop = fmt.Errorf("%w; before that: %v", stop, &BatchError{failed})
		}
		return &OpError{Op: opApply, Index: base, Err: stop}
	}
	if failed != nil {
		return &BatchError{failed}
	}
	return nil
}

func appendFailed(failed []*OpError, batch []pending, base int) []*OpError {
	for i := range batch {
		if p := &batch[i]; p.err != nil {
			failed = append(failed, p.opError(base+i))
		}
	}
	return failed
}

func (p *pending) opError(index int) *OpError {
	return &OpError{Op: p.ch.Op.String(), Object: p.ch.Object(), Index: index, Err: p.err}
}

// Do makes one change. The error is an [*OpError].
func (c *Client) Do(ch Change) error {
	batch := [1]pending{{ch: ch}}
	_, stop := c.apply(batch[:])
	batch[0].err = orElse(stop, batch[0].err)
	if batch[0].err == nil {
		return nil
	}
	return batch[0].opError(0)
}
