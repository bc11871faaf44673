package ipvsadm

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// fail reports err, if any, and returns the exit status.
func (s *session) fail(c *Command, err error) int {
	if err == nil {
		return exitOK
	}
	s.explain(c, err)
	var u *UsageError
	var daemon *DaemonError
	switch {
	case errors.As(err, &u):
		return u.Status
	case errors.Is(err, ErrNotRunning):
		return exitList
	case errors.As(err, &daemon) && daemon.Code == codeDenied, errors.Is(err, ipvs.ErrNoIPVS), errors.Is(err, ipvs.ErrPermission):
		return exitUsage
	case c.Action == ActionList, c.Action == ActionSave, c.Action == ActionGetLocal:
		return exitList
	}
	return exitKernel
}

// explain prints what went wrong, and what may help.
func (s *session) explain(c *Command, err error) {
	s.say(s.where + message(err))
	if h := s.hint(c, err); h != "" && !slices.Contains(s.hints, h) {
		s.say("hint: " + h)
		s.hints = append(s.hints, h)
	}
}

// say prints a line on standard error. That it could not be printed cannot be
// told to anybody.
func (s *session) say(text string) {
	_, _ = io.WriteString(s.Stderr, s.prog+": "+text+"\n")
}

// message is an error without the name of the package it comes from.
func message(err error) string {
	var op *ipvs.OpError
	if errors.As(err, &op) {
		return strings.TrimPrefix(op.Error(), "ipvs: ")
	}
	return strings.TrimPrefix(err.Error(), "ipvs: ")
}
