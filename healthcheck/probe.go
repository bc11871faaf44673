package healthcheck

import (
	"context"
	"time"
)

// A Probe looks at one real server once. A nil error means healthy; any other
// error is the reason it is not, or says that we could not tell: see [Judge].
// It returns soon after ctx ends, and is safe for concurrent use.
type Probe func(ctx context.Context) error

// longest bounds a check whose caller gave no deadline.
const longest = 30 * time.Second

// New returns the probe that makes the check on the target.
func New(c Check, t Target) (Probe, error) {
	p, err := prepareCheck(c)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return p.run(ctx, t).Err }, nil
}

// A Result is what one look at a server gave.
type Result struct {
	Err        error         // nil: healthy
	Took       time.Duration // from start to verdict
	Transcript string        // what was said, shortened, without secrets
	Warning    string        // healthy, but not for long: a certificate about to expire
	Weight     Weight        // what the server says it can bear
}

// A Weight is what a check says of how much its server can bear. The zero value
// is that of a check that says nothing of it.
type Weight struct {
	Said  bool  `json:"said,omitempty"`
	Value int32 `json:"value,omitempty"`
}

// Look makes the check on the target once, and tells more than a [Probe] does.
func Look(ctx context.Context, c Check, t Target) (Result, error) {
	p, err := prepareCheck(c)
	if err != nil {
		return Result{}, err
	}
	return p.run(ctx, t), nil
}

// prepared is a check that was read, compiled and found valid. All servers
// that are checked alike share one.
type prepared struct {
	check Check
	look  look
}

func prepareCheck(c Check) (*prepared, error) {
	k, err := c.kind()
	if err != nil {
		return nil, err
	}
	l, err := k.prepare(c)
	if err != nil {
		return nil, c.wrong("%w", err)
	}
	return &prepared{check: c, look: l}, nil
}

// foreign is a probe that is not of this package, under the same limits of time.
func foreign(probe Probe) *prepared {
	return &prepared{look: func(ctx context.Context, _ *Dialer) error { return probe(ctx) }}
}

// run makes the check once. Whatever the protocol left open is closed.
func (p *prepared) run(ctx context.Context, t Target) Result {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	if err := t.crossed(&p.check); err != nil {
		return Result{Err: err}
	}
	start := time.Now()
	d := newDialer(p.check, t)
	err := d.explain(ctx, contained(ctx, p.look, d))
	d.close()
	return Result{Err: err, Took: time.Since(start), Transcript: d.transcript.String(), Warning: d.warning, Weight: d.weight}
}

// contained turns a panic in a protocol or its library into an error that says
// nothing about the server.
func contained(ctx context.Context, l look, d *Dialer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicked(r)
		}
	}()
	return l(ctx, d)
}
