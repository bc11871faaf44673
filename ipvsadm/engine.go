package ipvsadm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// Daemon is goipvsd, whose full NAT the commands list and change.
type Daemon interface {
	// Ask makes one request of the control socket. args and result are JSON.
	// What the daemon refuses is a *DaemonError.
	Ask(verb string, args []byte) (result []byte, err error)
	Close() error
}

// ErrNotRunning: nobody listens on goipvsd's control socket.
var ErrNotRunning = errors.New("goipvsd does not run, and full NAT is its work")

// DaemonError is why goipvsd did not carry out a request: code, message and hint
// of its answer (docs/control.md).
type DaemonError struct{ Code, Message, Hint string }

const codeDenied = "denied"

func (e *DaemonError) Error() string { return e.Message }

// The verbs of the control socket that full NAT's commands are carried by.
const (
	VerbRules       = "fullnat"
	VerbList        = "fullnat_list"
	VerbConnections = "fullnat_connections"
)

// ListArgs are the arguments of VerbList.
type ListArgs struct {
	Service string `json:"service,omitempty"` // "tcp 192.0.2.1:80": only this one
	// Locals has the connections of local addresses in the kernel counted, which
	// means to read all that is tracked.
	Locals bool `json:"locals,omitempty"`
}

// RulesArgs are the arguments of VerbRules: command lines, carried out together
// or not at all.
type RulesArgs struct {
	Rules []string `json:"rules"`
}

// RulesResult is the result of VerbRules. When anything was refused nothing was
// done.
type RulesResult struct {
	Refused []Refusal `json:"refused,omitempty"`
	Warning string    `json:"warning,omitempty"` // it was done, but
}

// Refusal is why one of the rules is not possible.
type Refusal struct {
	Rule    int    `json:"rule"`           // counted from 0
	Kind    string `json:"kind,omitempty"` // see KindOf
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// kinds are the errors that mean something to a command, by name.
var kinds = [...]struct {
	name string
	err  error
}{
	{"no_service", ipvs.ErrNoService}, {"no_destination", ipvs.ErrNoDestination}, {"exists", ipvs.ErrExists},
	{"no_scheduler", ipvs.ErrNoScheduler}, {"range", ipvs.ErrRange}, {"invalid", ipvs.ErrInvalid}, {"unsupported", ipvs.ErrUnsupported},
}

// KindOf names what kind of refusal an error is; "" is none of those that have a name.
func KindOf(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return ""
}

// refused is a Refusal as an error.
type refused struct {
	Refusal
}

func (r *refused) Error() string { return r.Message }

func (r *refused) Unwrap() error {
	for _, k := range kinds {
		if k.name == r.Kind {
			return k.err
		}
	}
	return nil
}

// engine is full NAT in goipvsd as one more kernel.
type engine struct {
	daemon Daemon
	warn   func(string) // is told of what was done, but
	listing
}

// list lists all services, or only one.
func (e *engine) list(one ...ipvs.ServiceKey) error { return e.listWith(false, one) }

func (e *engine) listWith(locals bool, one []ipvs.ServiceKey) error {
	args := jsonText{first: true}
	args.open('{')
	if len(one) > 0 {
		args.str("service", one[0].String())
	}
	if locals {
		args.key("locals")
		args.b = append(args.b, "true"...)
	}
	args.close('}')
	b, err := e.daemon.Ask(VerbList, args.b)
	if err != nil {
		return err
	}
	e.listing, err = readListing(b)
	return err
}

// has reports whether the last listing has the service.
func (e *engine) has(k ipvs.ServiceKey) bool {
	_, ok := e.dests[k]
	return ok
}

// service is one service of the last listing.
func (e *engine) service(k ipvs.ServiceKey) (ipvs.ServiceInfo, bool) {
	i := slices.IndexFunc(e.services, func(s ipvs.ServiceInfo) bool { return s.ServiceKey == k })
	if i < 0 {
		return ipvs.ServiceInfo{}, false
	}
	return e.services[i], true
}

// requestSize is how much of a request's 64 KiB rules may take.
const requestSize = 60 << 10

// apply makes changes in their order, many in one request. Like a kernel it goes
// on after a failure: a request of which something is refused changes nothing,
// so it is made again without that. An error is for when nothing was done; when
// goipvsd is lost later, the first change of which nothing is known has failed.
// Indexes are those of the list.
func (e *engine) apply(list []ipvs.Change) (failed []*ipvs.OpError, err error) {
	for from := 0; from < len(list); {
		to, size := from, 0
		rules := make([]string, 0, min(len(list)-from, 1024))
		for to < len(list) {
			rule := string(AppendChange(nil, list[to]))
			if size += len(rule) + len(`"",`); size > requestSize && to > from {
				break
			}
			rules = append(rules, rule)
			to++
		}
		more, err := e.applyRules(list[from:to], rules)
		for _, f := range more {
			f.Index += from
			failed = append(failed, f)
		}
		switch {
		case err != nil && from == 0 && len(failed) == 0:
			return nil, err
		case err != nil:
			for slices.ContainsFunc(failed, func(f *ipvs.OpError) bool { return f.Index == from }) {
				from++
			}
			return append(failed, lost(list, from, err)), nil
		}
		from = to
	}
	slices.SortStableFunc(failed, func(a, b *ipvs.OpError) int { return a.Index - b.Index })
	return failed, nil
}

// lost is the failure of a change that goipvsd was lost with.
func lost(list []ipvs.Change, i int, err error) *ipvs.OpError {
	return &ipvs.OpError{Op: list[i].Op.String(), Object: list[i].Object(), Index: i,
		Err: fmt.Errorf("%w; what is before it for full NAT is done, this and what comes after it perhaps not", err)}
}

// applyRules has the daemon make changes, without those that it refuses.
func (e *engine) applyRules(list []ipvs.Change, rules []string) (failed []*ipvs.OpError, err error) {
	at := make([]int, len(rules)) // where a rule stood at first
	for i := range at {
		at[i] = i
	}
	for len(rules) > 0 {
		no, err := e.ask(rules)
		if err != nil {
			return failed, err
		}
		if len(no) == 0 {
			return failed, nil
		}
		out := make(map[int]bool, len(no))
		for i := range no {
			r := &no[i]
			if r.Rule < 0 || r.Rule >= len(rules) || out[r.Rule] {
				return failed, errJSON
			}
			out[r.Rule] = true
			c := list[at[r.Rule]]
			failed = append(failed, &ipvs.OpError{Op: c.Op.String(), Object: c.Object(), Index: at[r.Rule], Err: &refused{*r}})
		}
		n := 0
		for i := range rules {
			if !out[i] {
				rules[n], at[n] = rules[i], at[i]
				n++
			}
		}
		rules, at = rules[:n], at[:n]
	}
	return failed, nil
}

// ask has the daemon carry out command lines and returns what it refused.
func (e *engine) ask(rules []string) (no []Refusal, err error) {
	args := jsonText{first: true}
	args.open('{')
	args.field("rules", '[')
	for _, r := range rules {
		args.element(r)
	}
	args.close(']')
	args.close('}')
	b, err := e.daemon.Ask(VerbRules, args.b)
	if err != nil {
		return nil, err
	}
	j := jsonReader{b: b}
	j.object(func(name string) {
		switch name {
		case "refused":
			j.array(func() { no = append(no, j.refusal()) })
		case "warning":
			e.warn(j.string())
		default:
			j.skip()
		}
	})
	return no, j.end()
}

func (j *jsonReader) refusal() (r Refusal) {
	j.object(func(name string) {
		switch name {
		case "rule":
			var n uint32
			number64(j, &n)
			r.Rule = int(n)
		case "kind":
			r.Kind = j.string()
		case "message":
			r.Message = j.string()
		case "hint":
			r.Hint = j.string()
		default:
			j.skip()
		}
	})
	return r
}

// one carries out a command line that is no rule (-C, -Z, --set).
func (e *engine) one(rule string) error {
	no, err := e.ask([]string{rule})
	if err == nil && len(no) > 0 {
		err = &refused{no[0]}
	}
	return err
}

// ReadAnswer reads an answer of the control socket: its result, or an error that
// is a *DaemonError.
func ReadAnswer(line []byte) (result []byte, err error) {
	j := jsonReader{b: line}
	var refusal *DaemonError
	j.object(func(name string) {
		switch name {
		case "result":
			result = j.raw()
		case "error":
			refusal = j.daemonError()
		default:
			j.skip()
		}
	})
	if err := j.end(); err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	return result, nil
}

func (j *jsonReader) daemonError() *DaemonError {
	e := new(DaemonError)
	j.object(func(name string) {
		switch name {
		case "code":
			e.Code = j.string()
		case "message":
			e.Message = j.string()
		case "hint":
			e.Hint = j.string()
		default:
			j.skip()
		}
	})
	return e
}
