package verbs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/tune"
)

func (v *verbs) tune() *cli.Command {
	return &cli.Command{
		Name: "tune", ArgsUsage: "show|set|undo [NAME[=VALUE]]...",
		Usage: "show, explain and set the kernel knobs of a director",
		Description: "The knobs are ip_forward and those of net.ipv4.vs, by their last word or their whole name. " +
			"show NAME explains one: what it does, its default, and when to change it. " +
			"set NAME=VALUE sets all or none, and records in /run/goipvs what was before; undo puts that back, for all that were set or for those named, unless somebody changed them since. " +
			"Settings do not outlive a boot: for that they go into /etc/sysctl.d.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "say what set or undo would do, change nothing"},
			jsonFlag,
		},
		Action: v.dispatch(
			action{"show", nil, v.tuneShow},
			action{"set", []string{"check"}, v.tuneSet},
			action{"undo", []string{"check"}, v.tuneUndo},
		),
	}
}

func knobs(words []string) (all []tune.About, err error) {
	for _, w := range words {
		a, err := tune.Find(w)
		if err != nil {
			return nil, usageError{err}
		}
		all = append(all, a)
	}
	return all, nil
}

func (v *verbs) tuneShow(c *cli.Context, words []string) error {
	which, err := knobs(words)
	if err != nil {
		return err
	}
	all, err := tune.Host{}.Show(which...)
	if err != nil {
		return v.refuse(err)
	}
	if c.Bool("json") {
		return writeJSON(v.out, all)
	}
	vs := false
	for _, s := range all {
		vs = vs || strings.HasPrefix(string(s.Knob), "net/ipv4/vs/")
		if len(which) > 0 {
			v.tunePage(s)
		} else {
			fmt.Fprintf(v.out, "%s = %s%s\n", s.Name(), s.Value, remark(s))
			for _, line := range fill(s.Brief, textWidth-4) {
				fmt.Fprintln(v.out, "    "+line)
			}
		}
	}
	if !vs && len(which) == 0 {
		v.hint("the knobs of IPVS are there once it is loaded: modprobe ip_vs")
	}
	return nil
}

// remark tells where a value comes from.
func remark(s tune.State) string {
	var notes []string
	if s.Default != "" && s.Default != s.Value {
		notes = append(notes, "default "+s.Default)
	}
	if s.Was != "" {
		notes = append(notes, "was "+s.Was+" before goipvs tune")
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

func (v *verbs) tunePage(s tune.State) {
	usual := s.Default
	if usual == "" {
		usual = "depends on the machine"
	}
	terms := [][2]string{{"what", s.Brief}, {"change", s.Change}, {"values", s.Values}, {"default", usual}}
	var b strings.Builder
	writeTerms(&b, terms)
	fmt.Fprintf(v.out, "%s = %s%s\n%s", s.Knob, s.Value, remark(s), b.String())
}

func (v *verbs) tuneSet(c *cli.Context, words []string) error {
	if len(words) == 0 {
		return usageError{errors.New("goipvs tune set takes NAME=VALUE")}
	}
	var settings []sysctl.Setting
	for _, w := range words {
		s, err := tune.Setting(w)
		if err != nil {
			return usageError{err}
		}
		settings = append(settings, s)
	}
	changes, err := tune.Host{DryRun: c.Bool("check")}.Set(settings...)
	if err != nil {
		return v.refuse(err)
	}
	return v.tuneReport(c, "set", changes, nil)
}

func (v *verbs) tuneUndo(c *cli.Context, words []string) error {
	which, err := knobs(words)
	if err != nil {
		return err
	}
	undone, kept, err := tune.Host{DryRun: c.Bool("check")}.Undo(which...)
	if err != nil {
		return v.refuse(err)
	}
	return v.tuneReport(c, "restore", undone, kept)
}

func (v *verbs) tuneReport(c *cli.Context, do string, changes, kept []sysctl.Change) error {
	changed := false
	for _, x := range changes {
		changed = changed || !x.None()
	}
	if c.Bool("json") {
		return writeJSON(v.out, struct {
			Changed bool            `json:"changed"`
			Check   bool            `json:"check"` // nothing was done
			Knobs   []sysctl.Change `json:"knobs"`
			Kept    []sysctl.Change `json:"kept,omitempty"`
		}{changed, c.Bool("check"), append([]sysctl.Change{}, changes...), kept})
	}
	if c.Bool("check") {
		do = "would " + do
	}
	for _, x := range changes {
		if !x.None() {
			fmt.Fprintf(v.out, "%s %s=%s (was %s)\n", do, x.Knob, x.New, x.Old)
		}
	}
	for _, x := range kept {
		fmt.Fprintf(v.out, "keep %s at %s: somebody changed it since it was set\n", x.Knob, x.New)
	}
	if !changed && len(kept) == 0 {
		fmt.Fprintln(v.out, "nothing to do")
	}
	return nil
}
