package ipvsadm

import (
	"net/netip"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// Parse reads the words of a command line, the program's name not among them.
// Numeric addresses and ports need no names; for others it asks names, of which
// nil knows none. The error is a *UsageError.
func Parse(words []string, names Names) (Command, error) {
	p := parser{names: names}
	err := p.parse(words)
	return p.cmd, err
}

// Names turns names into addresses and ports.
type Names interface {
	// Host gives an address of the family, the first if there are several.
	Host(name string, f ipvs.Family) (netip.Addr, error)
	// Port gives the port that a protocol's service has.
	Port(service string, p ipvs.Protocol) (uint16, error)
}

// parser reads one command line after the other. What it found stays valid
// until the next parse; strings in it are parts of the words.
type parser struct {
	names Names
	cmd   Command

	words []string
	next  int                 // index of the word to read next
	rest  []string            // words that are no options
	typed [columnCount]string // how the options in cmd.given were typed
	verb  string              // how the command was typed

	mask     string   // -M, to be read when the family is known
	flags    string   // -b, to be read when the scheduler is known
	server   endpoint // -r, whose port may be the service's
	complete bool     // -h or -v: the rest of the line does not matter
}

// parse reads one command line. Values are judged from left to right as they
// come, then the words left over, then what goes with what.
func (p *parser) parse(words []string) error {
	p.cmd = Command{}
	p.words, p.next, p.rest = words, 0, p.rest[:0]
	p.verb, p.mask, p.flags, p.server, p.complete = "", "", "", endpoint{}, false
	if err := p.options(); err != nil || p.complete {
		return err
	}
	if p.cmd.Action == 0 {
		if len(p.rest) > 0 {
			return tryHelp(p.rest[0], "a command must come first")
		}
		return nil
	}
	return p.finish()
}

// options reads all words as popt does: letters may be bundled, a value may be
// glued to its letter or follow "=", "--" ends the options.
func (p *parser) options() error {
	for p.next < len(p.words) && !p.complete {
		w := p.words[p.next]
		p.next++
		var err error
		switch {
		case w == "--":
			p.rest = append(p.rest, p.words[p.next:]...)
			return nil
		case len(w) < 2 || w[0] != '-':
			p.rest = append(p.rest, w)
		case w[1] == '-':
			err = p.long(w)
		default:
			err = p.bundle(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) long(w string) error {
	name, value, glued := strings.Cut(w[2:], "=")
	for i := range options {
		o := &options[i]
		if o.long != name || !p.knows(o) {
			continue
		}
		if glued && o.arg == argNone {
			return tryHelp(w, "option does not take an argument")
		}
		return p.take(o, w, value, glued)
	}
	return p.unknown(w)
}

func (p *parser) bundle(w string) error {
	for letters := w[1:]; letters != "" && !p.complete; {
		o := p.letter(letters[0])
		if o == nil {
			return p.unknown(w)
		}
		value, equals := strings.CutPrefix(letters[1:], "=")
		switch {
		case o.arg != argNone:
			return p.take(o, w, value, equals || value != "")
		case equals:
			return tryHelp(w, "option does not take an argument")
		}
		letters = value
		if err := p.take(o, w, "", false); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) letter(c byte) *option {
	for i := range options {
		if o := &options[i]; o.short == c && p.knows(o) {
			return o
		}
	}
	return nil
}

func (p *parser) knows(o *option) bool {
	return o.only == 0 || o.only&(1<<p.cmd.Action) != 0
}

func (p *parser) unknown(w string) error {
	if p.cmd.Action == 0 {
		return tryHelp(w, "unknown option, and a command must come first")
	}
	return tryHelp(w, "unknown option")
}

// take deals with one option that was typed as part of the word w. Its value is
// glued to it or the next word.
func (p *parser) take(o *option, w, value string, glued bool) error {
	if o.arg != argNone && !glued {
		more := p.next < len(p.words)
		switch {
		case more && (o.arg == argRequired || !strings.HasPrefix(p.words[p.next], "-")):
			value, glued = p.words[p.next], true
			p.next++
		case o.arg == argRequired:
			return tryHelp(w, "missing argument")
		}
	}
	if err := p.admit(o, w); err != nil {
		return err
	}
	if o.set == nil || o.arg == argOptional && !glued {
		return nil
	}
	err := o.set(p, value)
	if err != nil && o.arg == argNone {
		return blame(err, w)
	}
	if err != nil {
		return blame(err, value)
	}
	return nil
}

// admit takes note of an option, or says why it cannot stand here.
func (p *parser) admit(o *option, w string) error {
	switch {
	case o.action != 0 && p.cmd.Action != 0:
		return usage(w, "only one command can be given, and "+p.verb+" was")
	case o.action != 0:
		p.cmd.Action, p.verb = o.action, w
		p.complete = o.action == ActionHelp || o.action == ActionVersion
	case p.cmd.Action == 0:
		return tryHelp(w, "a command must come first")
	case o.col == colNone:
	case p.cmd.given.has(o.col):
		return usage(w, "multiple '"+columnNames[o.col]+"' options specified")
	default:
		p.cmd.given.add(o.col)
		p.typed[o.col] = w
	}
	return nil
}
