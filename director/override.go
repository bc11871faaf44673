package director

import (
	"fmt"
	"time"
)

// An Override is what an operator said of a real server through goipvs. It is
// kept across restarts and reloads until it expires or the server is enabled.
type Override struct {
	Kind   OverrideKind `json:"kind"`
	Name   string       `json:"name,omitempty"`   // the server's, which the word follows to its next address; empty: it has none
	Weight int32        `json:"weight,omitempty"` // of SetWeight
	Reason string       `json:"reason,omitempty"`
	By     string       `json:"by,omitempty"` // who said it: a user's name or number
	Since  time.Time    `json:"since"`
	// Until is when it ends by itself; zero: never.
	Until time.Time `json:"until,omitzero"`
	// Deadline is when a drained server is removed even with connections; zero:
	// it may take as long as it takes.
	Deadline time.Time `json:"deadline,omitzero"`
}

// OverrideKind is what is to be done with the server.
type OverrideKind string

// The kinds: Drain gives it no new connections and removes it when it is idle;
// Maintain counts it as down; SetWeight gives it another weight.
const (
	Drain     OverrideKind = "drain"
	Maintain  OverrideKind = "maintain"
	SetWeight OverrideKind = "weight"
)

// Check tells what is wrong with an override, as it may come from a file.
func (o *Override) Check() error {
	switch o.Kind {
	case Drain, Maintain:
		return nil
	case SetWeight:
		if o.Weight < 0 {
			return fmt.Errorf("weight %d is negative", o.Weight)
		}
		return nil
	}
	return fmt.Errorf("unknown kind of override %q", o.Kind)
}

// says reports whether two words are the same, whoever said them and when. An end
// that is counted from now is another one each time.
func (o *Override) says(p *Override) bool {
	if o == nil || p == nil {
		return o == p
	}
	return o.Kind == p.Kind && o.Weight == p.Weight && o.Reason == p.Reason && o.Until.Equal(p.Until) && o.Deadline.Equal(p.Deadline)
}

// active reports whether the override counts now.
func (o *Override) active(now time.Time) bool {
	return o != nil && (o.Until.IsZero() || now.Before(o.Until))
}

func (o *Override) String() string {
	text := string(o.Kind)
	if o.Kind == SetWeight {
		text = fmt.Sprintf("weight %d", o.Weight)
	}
	if o.By != "" {
		text += " by " + o.By
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}
