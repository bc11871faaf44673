package ipvsadm

import (
	"errors"
	"strconv"

	"github.com/goipvs/goipvs/ipvs"
)

// maxBadLines is how many bad lines are reported before the rest is given up.
const maxBadLines = 20

// rules reads the commands of a text one after the other.
type rules struct {
	parser
	text *text
	at   place
	line []string // the words of the line
}

// advance parses the next line that is not empty; ok is false at the end.
// The command is in r.cmd, the line's number in r.at.
func (r *rules) advance() (ok bool, err error) {
	for {
		line, ok := r.text.next(&r.at)
		if !ok {
			return false, nil
		}
		if r.line = r.text.split(r.line[:0], line); len(r.line) == 0 {
			continue
		}
		return true, r.parseLine()
	}
}

// parseLine parses the words of one line, in which some commands have no place.
func (r *rules) parseLine() error {
	if r.text.strict && r.line[0][0] == '#' {
		return tryHelp(r.line[0], "a comment must begin in the first column")
	}
	if err := r.parse(r.line); err != nil {
		return badLine(err)
	}
	switch r.cmd.Action {
	case ActionRestore:
		return tryHelp(r.verb, "no restore within a restore")
	case ActionHelp, ActionVersion:
		return usage(r.verb, "has no place in a rules file")
	}
	return nil
}

// badLine gives err the status that all bad lines have: within a file there is
// only one way of being wrong.
func badLine(err error) error {
	var u *UsageError
	if errors.As(err, &u) {
		u.Status = exitUsage
	}
	return err
}

// badLines is what is wrong with a rules file, a line each.
type badLines struct {
	text   []string
	status int
	more   bool
	full   int // the first line for full NAT; 0: none
}

func (b *badLines) add(source string, line int, err error) {
	b.text = append(b.text, at(source, line)+err.Error())
	var u *UsageError
	if errors.As(err, &u) {
		b.status = max(b.status, u.Status)
	}
	b.more = len(b.text) == maxBadLines
}

func at(source string, line int) string { return source + ":" + strconv.Itoa(line) + ": " }

// check parses all of the text.
func (t *text) check(source string, names Names) (bad badLines) {
	r := rules{parser: parser{names: names}, text: t}
	for !bad.more {
		ok, err := r.advance()
		switch {
		case err != nil:
			bad.add(source, r.at.line, err)
		case !ok:
			return bad
		case bad.full == 0 && r.cmd.fullNAT():
			bad.full = r.at.line
		}
	}
	return bad
}

// restore carries out a rules text that was checked. Runs of rules go to the
// kernel as one stream; any other command is run in its turn.
type restore struct {
	rules
	run   *session
	start place // of the stream
	other bool  // the stream ended before a command that is no rule
	fault error // the stream ended because of it
	done  bool
}

func (r *restore) all() (status int) {
	for !r.done {
		r.start, r.other = r.at, false
		status = max(status, r.stream())
		if r.fault != nil {
			return max(status, r.run.fail(&Command{}, r.fault))
		}
		if r.other {
			one := r.single()
			r.done = r.done || one == exitList // ipvsadm ends there, too: what was asked for cannot be shown
			status = max(status, one)
		}
	}
	return status
}

// stream applies the rules up to the next command that is none.
func (r *restore) stream() int {
	err := r.run.kernel.Apply(r.changes)
	var batch *ipvs.BatchError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &batch):
		r.report(batch)
		return exitKernel
	}
	r.done = true
	return r.run.fail(&Command{}, err)
}

// changes is the sequence that Apply pulls from.
func (r *restore) changes(yield func(ipvs.Change) bool) {
	for {
		ok, err := r.advance()
		switch {
		case err != nil:
			r.fault, r.done = err, true
			return
		case !ok:
			r.done = true
			return
		case !r.cmd.Rule():
			r.other = true
			return
		case !yield(r.cmd.Change):
			r.done = true
			return
		}
	}
}

// single runs the command at which the stream stopped; it is in r.cmd.
func (r *restore) single() int {
	r.run.where = at(r.run.source, r.at.line)
	defer func() { r.run.where = "" }()
	return r.run.one(&r.cmd)
}

// report says which lines the kernel refused. Positions within the stream are
// turned into line numbers by going through it again.
func (r *restore) report(batch *ipvs.BatchError) {
	again := rules{parser: parser{names: r.names}, text: r.text, at: r.start}
	n := -1
	for _, e := range batch.Failed {
		for n < e.Index {
			if ok, err := again.advance(); !ok || err != nil {
				break
			}
			n++
		}
		r.run.where = at(r.run.source, again.at.line)
		r.run.explain(&again.cmd, e)
	}
	r.run.where = ""
}
