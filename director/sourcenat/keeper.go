// Package sourcenat keeps what full NAT in the kernel needs besides IPVS: the
// rules of source NAT (package snat) and the knobs that let connections of IPVS
// come by them (package sysctl).
package sourcenat

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/tune"
)

// Keeper keeps rules and knobs of the network namespace that it is used in. The
// zero value works. It is for one goroutine, Check for any.
type Keeper struct {
	// Knobs remembers what was before. It should be the Keeper's alone: at the
	// end everything in its record is undone.
	Knobs tune.Host

	rules     snat.Plane
	want      []snat.Service // as last kept
	notrack   snat.Notrack
	untracked []snat.Untracked // as last kept
}

// Check tells why this kernel cannot do it for such services; nil: it can.
func (k *Keeper) Check(n snat.Need) error {
	if _, err := k.Knobs.Netns.Get(sysctl.VS("conntrack")); err != nil {
		return err
	}
	return snat.Check(n)
}

// Services are those that there are rules for now, whoever made them.
func (k *Keeper) Services() ([]snat.Service, error) { return k.rules.Services() }

// Counts are the connections of each service that got a local address.
func (k *Keeper) Counts() (map[ipvs.ServiceKey]snat.Counts, error) { return k.rules.Counts() }

// Keep has exactly these services be served: knobs first, then rules. When there
// are none left the rules go and the knobs are what they were; forwards says
// that packets must still be forwarded, for services that have other needs of
// it.
func (k *Keeper) Keep(want []snat.Service, forwards bool) error {
	if len(want) > 0 {
		if err := k.set(want); err != nil {
			return err
		}
	}
	changed, err := k.rules.Apply(want)
	if err != nil {
		return err
	}
	if changed && slices.EqualFunc(want, k.want, func(a, b snat.Service) bool { return a.Key == b.Key && slices.Equal(a.Locals, b.Locals) }) {
		// Others had taken the rules away. Connections that began meanwhile have no
		// local address, and never would, as long as their clients try.
		_ = eachFamily(want, func(f ipvs.Family, some []snat.Service) error { // else they come again from other ports
			find := newFinder(some)
			return forget(f, func(c *Connection) bool { return find.has(c) && !c.hasLocal() })
		})
	}
	k.want = slices.Clone(want)
	if len(want) > 0 {
		return nil
	}
	which := []tune.About{about(sysctl.VS("conntrack"))}
	if !forwards {
		which = append(which, about(sysctl.Forward4), about(sysctl.Forward6))
	}
	dry := k.Knobs
	dry.DryRun = true // a look: most directors have nothing to undo, and no record
	if undone, _, err := dry.Undo(which...); err != nil || len(undone) == 0 {
		return err
	}
	_, _, err = k.Knobs.Undo(which...)
	return err
}

// Untrack has connection tracking, where it is loaded, not see the packets of
// exactly these services, and tells whether others had changed that.
func (k *Keeper) Untrack(want []snat.Untracked) (mended bool, err error) {
	if len(want) > 0 && !snat.TracksConnections() {
		return false, nil // rules would load it
	}
	changed, err := k.notrack.Apply(want)
	if err != nil {
		return false, err
	}
	mended = changed && len(want) > 0 && reflect.DeepEqual(want, k.untracked)
	k.untracked = want
	return mended, nil
}

func about(k sysctl.Knob) tune.About { return tune.About{Knob: k} }

// set gives the knobs their values, and touches no record where they have them.
func (k *Keeper) set(want []snat.Service) error {
	var settings []sysctl.Setting
	for _, knob := range knobs(want) {
		if v, err := k.Knobs.Netns.Get(knob); err != nil {
			return err
		} else if v != "1" {
			settings = append(settings, sysctl.Setting{Knob: knob, Value: "1"})
		}
	}
	if len(settings) == 0 {
		return nil
	}
	_, err := k.Knobs.Set(settings...)
	return err
}

// knobs are those that have to be 1: IPVS' connections are known to connection
// tracking, and answers, which come to a local address and leave for the client,
// are forwarded.
func knobs(want []snat.Service) []sysctl.Knob {
	list := []sysctl.Knob{sysctl.VS("conntrack")}
	for _, f := range []struct {
		knob   sysctl.Knob
		family ipvs.Family
	}{{sysctl.Forward4, ipvs.IPv4}, {sysctl.Forward6, ipvs.IPv6}} {
		if slices.ContainsFunc(want, func(s snat.Service) bool { return s.Key.AF() == f.family }) {
			list = append(list, f.knob)
		}
	}
	return list
}

// Differs tells what is not as Keep left it; empty: all is.
func (k *Keeper) Differs() (string, error) {
	if len(k.want) == 0 {
		return "", nil
	}
	var out []string
	var errs []error
	for _, knob := range knobs(k.want) {
		if v, err := k.Knobs.Netns.Get(knob); err != nil {
			errs = append(errs, err)
		} else if v != "1" {
			out = append(out, fmt.Sprintf("%s is %s", knob, v))
		}
	}
	differ, err := k.rules.Differs(k.want)
	if differ {
		out = append(out, "rules of source NAT removed or changed")
	}
	return strings.Join(out, ", "), errors.Join(append(errs, err)...)
}
