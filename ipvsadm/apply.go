package ipvsadm

import (
	"strconv"

	"github.com/goipvs/goipvs/ipvs"
)

// ApplyOptions say how [Runner.Apply] works. The zero value makes what the
// rules name so and leaves other services alone.
type ApplyOptions struct {
	Source string // the file's name for messages; empty means "stdin"
	Prune  bool   // remove services that the rules do not name
	DryRun bool   // print the changes and make none
	// DetailedExit makes 2 the status of "there were changes", as other tools of
	// this kind have it; a failure is 1 then.
	DetailedExit bool
	JSON         bool // print one JSON document
}

// The statuses of verbs.
const (
	verbDone    = 0
	verbFailed  = 1
	verbUsage   = 2
	verbChanges = 2 // with DetailedExit
)

// Apply makes the kernel's table what the rules on Stdin say, by the fewest
// changes, and prints each as a rule, and what it comes to as a comment, so that
// the output is a rules text itself. It returns the exit status: 0 done, 1 when
// the kernel refused something, 2 when the rules are wrong and nothing was done.
func (r *Runner) Apply(o ApplyOptions) int {
	s := &session{Runner: r, prog: programOf(r.Prog), source: o.Source}
	defer s.close()
	return o.status(s.makeSo(o))
}

func (o ApplyOptions) status(changed int, status int) int {
	switch {
	case !o.DetailedExit:
		return status
	case status != verbDone:
		return verbFailed
	case changed > 0:
		return verbChanges
	}
	return verbDone
}

func (s *session) makeSo(o ApplyOptions) (changed, status int) {
	t, status := s.rules(false)
	if status != exitOK {
		return 0, verbUsage
	}
	if err := s.dial(); err != nil {
		s.fail(&Command{}, err)
		return 0, verbFailed
	}
	if s.reach(t) != exitOK {
		return 0, verbFailed
	}
	want, other, bad := t.table(s.source, s.resolver())
	for _, line := range bad {
		s.say(line)
	}
	switch {
	case other > 0:
		s.say(at(s.source, other) + "only the commands -A, -P and -a describe a table")
		s.say(s.source + ": nothing was changed")
		return 0, verbUsage
	case len(bad) > 0:
		s.say(s.source + ": nothing was changed")
		return 0, verbUsage
	}
	result, err := s.reconcile(want, ipvs.ReconcileOptions{KeepOthers: !o.Prune, DryRun: o.DryRun})
	if werr := s.printResult(result, o, err == nil); werr != nil {
		s.fail(&Command{}, werr)
		return len(result.Made), verbFailed
	}
	if err != nil {
		s.failReconcile(t, result, err)
		return len(result.Made), verbFailed
	}
	return len(result.Made), verbDone
}

func (s *session) printResult(r ipvs.Result, o ApplyOptions, whole bool) error {
	var b []byte
	if o.JSON {
		b = appendResult(r)
	} else {
		for _, c := range r.Made {
			b = append(AppendChange(b, c), '\n')
		}
		b = append(b, "# "+summary(len(r.Made), o.DryRun, whole)+"\n"...)
	}
	_, err := s.Stdout.Write(b)
	return err
}

func summary(changes int, dry, whole bool) string {
	switch {
	case changes == 0 && whole:
		return "nothing to change"
	case changes == 1 && dry:
		return "1 change to make"
	case dry:
		return strconv.Itoa(changes) + " changes to make"
	case changes == 1:
		return "1 change"
	}
	return strconv.Itoa(changes) + " changes"
}

func appendResult(r ipvs.Result) []byte {
	j := jsonText{first: true}
	j.open('{')
	j.key("changed")
	j.b, j.first = strconv.AppendBool(j.b, len(r.Made) > 0), false
	for _, list := range []struct {
		key     string
		changes []ipvs.Change
	}{{"changes", r.Made}, {"withheld", r.Withheld}} {
		j.field(list.key, '[')
		for _, c := range list.changes {
			j.line()
			j.element(string(AppendChange(nil, c)))
		}
		j.close(']')
	}
	j.close('}')
	return append(j.b, '\n')
}
