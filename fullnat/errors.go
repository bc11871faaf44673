package fullnat

import (
	"errors"
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
)

// OpError is an error of an engine: what it was to do, with what, and why that
// failed.
type OpError struct {
	Op     string // "add service"
	Object string // "tcp 192.0.2.10:80", empty for the engine itself
	// Service is the object, if it is one.
	Service ipvs.ServiceKey
	Err     error
}

func (e *OpError) Error() string {
	s := "fullnat: " + e.Op
	if e.Object != "" {
		s += " " + e.Object
	}
	return s + ": " + e.Err.Error()
}

func (e *OpError) Unwrap() error { return e.Err }

func opError(op string, k ipvs.ServiceKey, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{op, k.String(), k, err}
}

// ofScheduler is what package sched says without the service, which is named
// around it, and with the scheduler's name.
func ofScheduler(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (%s)", errors.Unwrap(err), name)
}
