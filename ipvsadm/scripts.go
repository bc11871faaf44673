package ipvsadm

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// saveScript is the program called ipvsadm-save: -S, with -n if that is asked
// for. Words that are no options never meant anything to it.
func (s *session) saveScript(args []string) int {
	words := []string{"-S"}
	for _, a := range args {
		switch {
		case a == "-n":
			words = []string{"-S", "-n"}
		case strings.HasPrefix(a, "-"):
			s.say(printable(a) + ": unknown option")
			s.say("prints the rules that restore the table; -n for numbers in place of names")
			return exitList
		}
	}
	c, err := Parse(words, s.resolver())
	if err != nil {
		return s.fail(&c, err)
	}
	return s.one(&c)
}

// restore is -R: the rules are added to what is there.
func (s *session) restore() int {
	t, status := s.rulesForKernel(false)
	if status != exitOK {
		return status
	}
	return s.apply(t)
}

// restoreScript is the program called ipvsadm-restore: afterwards the table is
// what the rules say. The script of that name empties the table first, so that
// every connection loses its service for a while and its real server for good;
// here what does not change stays as it is.
func (s *session) restoreScript() int {
	t, status := s.rulesForKernel(true)
	if status != exitOK {
		return status
	}
	want, other, bad := t.table(s.source, s.resolver())
	if other > 0 {
		if err := s.kernel.Flush(); err != nil {
			return s.fail(&Command{}, err)
		}
		return s.apply(t)
	}
	status = exitOK
	for _, line := range bad {
		s.say(line)
		status = exitKernel
	}
	result, err := s.reconcile(want, ipvs.ReconcileOptions{})
	return max(status, s.failReconcile(t, result, err))
}

// rulesForKernel is rules, and dials the kernel for what they are good for.
func (s *session) rulesForKernel(strict bool) (*text, int) {
	t, status := s.rules(strict)
	if status == exitOK {
		status = s.fail(&Command{Action: ActionRestore}, s.dial())
	}
	if status == exitOK {
		status = s.reach(t)
	}
	return t, status
}

// reach makes sure that goipvsd is there for rules that need it, before anything
// is done for others.
func (s *session) reach(t *text) int {
	if t.full == 0 {
		return exitOK
	}
	_, err := s.kernel.need()
	if err == nil {
		return exitOK
	}
	s.where = at(s.source, t.full)
	status := s.fail(&Command{Action: ActionRestore}, err)
	s.where = ""
	s.say(s.source + ": nothing was changed")
	return status
}

// rules reads and judges the rules on standard input.
func (s *session) rules(strict bool) (*text, int) {
	if s.source == "" {
		s.source = "stdin"
	}
	t := &text{strict: strict}
	if err := t.read(s.Stdin); err != nil {
		var perr *fs.PathError // the path is "/dev/stdin", or said already
		if errors.As(err, &perr) {
			err = perr.Err
		}
		s.say("read " + s.source + ": " + err.Error())
		return nil, exitUsage
	}
	bad := t.check(s.source, s.resolver())
	for _, line := range bad.text {
		s.say(line)
	}
	if bad.status != exitOK {
		if bad.more {
			s.say(s.source + ": too many errors")
		}
		s.say(s.source + ": nothing was changed")
		return nil, bad.status
	}
	t.full = bad.full
	return t, exitOK
}

func (s *session) apply(t *text) int {
	r := restore{rules: rules{parser: parser{names: s.resolver()}, text: t}, run: s}
	return r.all()
}

// table reads the rules as a table. other is the first line that has another
// command than -A, -P and -a, which only the kernel can carry out; 0: none has.
// bad are lines that it would refuse whatever it holds. A service is full NAT's if
// anything of it is.
func (t *text) table(source string, names Names) (want ipvs.Table, other int, bad []string) {
	r := rules{parser: parser{names: names}, text: t}
	services := make(map[ipvs.ServiceKey]int)
	servers := make(map[netip.AddrPort]bool)
	last := -1 // the service whose real servers are in servers
	no := func(c *ipvs.Change, reason string) {
		bad = append(bad, at(source, r.at.line)+c.String()+": "+reason)
	}
	for {
		ok, err := r.advance()
		if !ok {
			return want, 0, bad
		}
		c := &r.cmd.Change
		i, known := services[c.Service.ServiceKey]
		switch {
		case err != nil || !r.cmd.Rule() || c.Op != ipvs.AddService && c.Op != ipvs.AddDestination && c.Op != ipvs.AddLocal:
			return nil, r.at.line, nil
		case known && c.Op == ipvs.AddService:
			no(c, ipvs.ErrExists.Error())
		case !known && c.Op != ipvs.AddService:
			no(c, ipvs.ErrNoService.Error())
		case c.Op == ipvs.AddService:
			services[c.Service.ServiceKey] = len(want)
			want = append(want, ipvs.Entry{Service: c.Service})
		case forFullNAT(c) != want[i].Service.FullNAT && len(want[i].Destinations) > 0, !forFullNAT(c) && want[i].Service.FullNAT:
			no(c, "the real servers of a service are all full NAT's (-b) or none")
		case c.Op == ipvs.AddLocal:
			if want[i].Service.FullNAT = true; slices.Contains(want[i].Locals, c.Local) {
				no(c, ipvs.ErrExists.Error())
				continue
			}
			want[i].Locals = append(want[i].Locals, c.Local)
		default:
			want[i].Service.FullNAT = forFullNAT(c)
			if i != last {
				clear(servers)
				for _, d := range want[i].Destinations {
					servers[d.Addr] = true
				}
				last = i
			}
			if servers[c.Destination.Addr] {
				no(c, ipvs.ErrExists.Error())
				continue
			}
			servers[c.Destination.Addr] = true
			want[i].Destinations = append(want[i].Destinations, c.Destination)
		}
	}
}

// reconcile makes both tables what is wanted. What goipvsd's file names in full NAT
// stays as it is, which is told where it is something else.
func (s *session) reconcile(want ipvs.Table, o ipvs.ReconcileOptions) (ipvs.Result, error) {
	e, err := s.kernel.look()
	if err != nil {
		return ipvs.Result{}, err
	}
	if e != nil {
		for i := range want {
			if w := &want[i]; len(w.Destinations) == 0 && e.has(w.Service.ServiceKey) {
				w.Service.FullNAT = true // nothing says that it is to be the kernel's
			}
		}
		want = slices.DeleteFunc(want, func(w ipvs.Entry) bool {
			have, ok := e.service(w.Service.ServiceKey)
			if !ok || !have.Managed {
				return false
			}
			s.keepManaged(e, &have, &w)
			return true
		})
	}
	s.kernel.mine = true
	return ipvs.Reconcile(s.kernel, want, o)
}

func (s *session) keepManaged(e *engine, have *ipvs.ServiceInfo, want *ipvs.Entry) {
	is := ipvs.Entry{Service: have.Service}
	for _, l := range have.Locals {
		is.Locals = append(is.Locals, l.Addr)
	}
	for _, d := range e.dests[have.ServiceKey] {
		is.Destinations = append(is.Destinations, d.Destination)
	}
	if len(ipvs.Plan(ipvs.Table{is}, ipvs.Table{*want})) > 0 {
		s.say("notice: " + have.ServiceKey.String() + " stays as it is: goipvsd's file names it")
	}
}

// failReconcile reports what the kernel refused, with the line where the rule
// stands if it comes from one.
func (s *session) failReconcile(t *text, result ipvs.Result, err error) int {
	var batch *ipvs.BatchError
	if !errors.As(err, &batch) {
		return s.fail(&Command{}, err)
	}
	s.explainRefused(t, batch)
	if errors.Is(err, ipvs.ErrUnsettled) {
		s.say(ipvs.ErrUnsettled.Error())
	}
	if n := len(result.Withheld); n > 0 {
		s.say("not done, so that no service is left without what it had: " + summary(n, false, false))
	}
	return exitKernel
}

func (s *session) explainRefused(t *text, batch *ipvs.BatchError) {
	type place struct {
		line    int
		command Command
	}
	from := make(map[string]place)
	for _, e := range batch.Failed {
		from[e.Object] = place{}
	}
	r := rules{parser: parser{names: s.resolver()}, text: t}
	for {
		ok, err := r.advance()
		if !ok || err != nil {
			break
		}
		object := r.cmd.Change.Object()
		if _, failed := from[object]; failed {
			from[object] = place{r.at.line, r.cmd}
		}
	}
	for _, e := range batch.Failed {
		p := from[e.Object]
		s.where = ""
		if p.line != 0 {
			s.where = at(s.source, p.line)
		}
		s.explain(&p.command, e)
	}
	s.where = ""
}
