package control

import (
	"encoding/json"
	"fmt"
)

// MaxRequest is the length in bytes of the longest request, newline included.
const MaxRequest = 64 << 10

// DefaultSocket is where the daemon listens when its file says nothing else.
const DefaultSocket = "/run/goipvs/goipvs.sock"

// Request is what a client sends.
type Request struct {
	ID   json.RawMessage `json:"id,omitempty"` // a number or a string; comes back as it is
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Response is the answer to one Request: a result or an error.
type Response struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Code says what kind of error it is, for programs.
type Code string

// The codes.
const (
	BadRequest  Code = "bad_request"  // not one JSON object of the known shape on a line
	TooLarge    Code = "too_large"    // longer than MaxRequest; the connection ends
	UnknownVerb Code = "unknown_verb" // no such verb
	BadArgs     Code = "bad_args"     // the verb's arguments are wrong
	Denied      Code = "denied"       // the peer may not do that
	NotFound    Code = "not_found"    // no such service or server
	BadConfig   Code = "bad_config"   // the configuration has mistakes; nothing was changed
	Refused     Code = "refused"      // it may be done, but only by force
	Busy        Code = "busy"         // too many clients; try again
	Failed      Code = "failed"       // it was tried and did not work
)

// Error is why a request was not carried out.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}
