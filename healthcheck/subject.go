package healthcheck

import "time"

// A Subject is a server to be checked by a [Runner], under a name of the
// caller's choice.
type Subject struct {
	ID       string // identity: what is known of a server is kept under it
	Check    Check
	Target   Target
	Schedule Schedule
	Probe    Probe   // not nil: the caller's own, instead of Check
	Start    Verdict // what to take for known until the first verdict: Up for a server that was found serving
	Known    Verdict // the last verdict of another Runner, which this one goes on from; Rise and Fall count from there
}

// A Status is what a [Runner] knows of one subject.
type Status struct {
	ID         string        `json:"id"`
	Verdict    Verdict       `json:"verdict"`           // Unknown: never checked, or trouble of our own
	Known      Verdict       `json:"known"`             // the last verdict that was up or down, to be held while Verdict is Unknown
	Since      time.Time     `json:"since"`             // of Verdict
	Reason     string        `json:"reason,omitempty"`  // of the last result, "" for a success
	Class      string        `json:"class,omitempty"`   // the reason in one word; see [Class]
	Warning    string        `json:"warning,omitempty"` // up, but not for long
	Weight     Weight        `json:"weight,omitzero"`   // what the last success said
	Successes  int           `json:"successes"`         // in a row
	Failures   int           `json:"failures"`          // in a row
	Checks     uint64        `json:"checks"`            // results so far
	Checked    time.Time     `json:"checked"`           // end of the last check; zero: none yet
	Took       time.Duration `json:"took_ns"`           // by the last check
	Transcript string        `json:"transcript,omitempty"`
}

// subject is one that the runner holds; several may share a job.
type subject struct {
	id    string
	job   *job
	start Verdict
}

// jobKey is equal for checks that need to be made only once.
type jobKey struct {
	check    Key
	target   Target
	schedule Schedule
	id       string // of a subject with a probe of its own
}

// job is a check that is made again and again for its subjects.
type job struct {
	key      jobKey
	prepared *prepared
	subjects []*subject
	health   health

	due     time.Time // of the next check
	grid    time.Time // due without jitter
	index   int       // in the queue, -1: not there
	running bool
	began   time.Time // of the check that runs
	gone    bool      // removed while it ran

	checks     uint64
	checked    time.Time
	took       time.Duration
	transcript string
}

func (s *subject) status() Status {
	j := s.job
	out := Status{
		ID: s.id, Since: j.health.since, Warning: j.health.warning, Weight: j.health.weight,
		Successes: j.health.good, Failures: j.health.bad,
		Checks: j.checks, Checked: j.checked, Took: j.took, Transcript: j.transcript,
	}
	out.Verdict, out.Known = j.health.seenFrom(s.start)
	if j.health.reason != nil {
		out.Reason, out.Class = j.health.reason.Error(), Class(j.health.reason)
	}
	return out
}
