package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// A Verdict is what is known of a server.
type Verdict int

// Unknown is the zero value: never checked, or the trouble is our own.
const (
	Unknown Verdict = iota
	Down
	Up
)

var verdicts = [...]string{Unknown: "unknown", Down: "down", Up: "up"}

func (v Verdict) String() string {
	if v >= 0 && int(v) < len(verdicts) {
		return verdicts[v]
	}
	return fmt.Sprintf("verdict %d", int(v))
}

// MarshalText gives "up", "down" or "unknown".
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// ErrTimeout is the reason when the check's deadline passed.
var ErrTimeout = errors.New("timed out")

// trouble is an error that is ours and says nothing about the server.
type trouble struct{ err error }

func (t *trouble) Error() string { return t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

// ours marks an error as our own trouble.
func ours(err error) error { return &trouble{err} }

// panicked is the error of a probe that panicked: a fault in our code or in a
// library, never the server's to pay for.
func panicked(r any) error {
	return ours(fmt.Errorf("panic in the check: %v\n%s", r, debug.Stack()))
}

// own are the errors that our own machine gives when it lacks something,
// whatever the server does.
var own = []error{
	unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EADDRNOTAVAIL, unix.EADDRINUSE,
	unix.ENETDOWN, unix.EPERM, unix.EACCES, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.EAGAIN,
	context.Canceled,
}

// Judge says what the error of a probe means for the server.
func Judge(err error) Verdict {
	if err == nil {
		return Up
	}
	var t *trouble
	if errors.As(err, &t) {
		return Unknown
	}
	for _, e := range own {
		if errors.Is(err, e) {
			return Unknown
		}
	}
	return Down
}
