package ipvsadm

import "strings"

// Group is a part of the help: options that belong together.
type Group struct {
	Title   string
	Options []Option
}

// Option is what the help, the manual page and the completions of shells say
// about an option of the grammar.
type Option struct {
	Long  string // its name, without dashes
	Value string // what follows it, for people: "NAME", "[SECONDS]", "SERVICE"
	Brief string // a few words, no sentence
	More  string // sentences that the manual page adds
	Words string // the values there are, if they can be listed, between blanks

	fold bool // the help names it without a line of its own
	list bool // the help prints Words, too
}

// Manual describes all options, in the order for people. It is static text;
// callers must not change it.
func Manual() []Group { return manual }

// Example is something to type.
type Example struct {
	Title string // without a full stop
	Lines string // PROG stands for the program's name
}

// Examples are those of the help. They are static text; callers must not change
// them.
func Examples() []Example { return examples }

// row is the option's row in the grammar.
func (o *Option) row() *option {
	for i := range options {
		if options[i].long == o.Long {
			return &options[i]
		}
	}
	panic("ipvsadm: no option --" + o.Long)
}

// Short is the option's letter, 0 if it has none.
func (o *Option) Short() byte { return o.row().short }

// Argument reports whether a value belongs to the option, and whether it can be
// left out. The SERVICE of a command is no value but an option itself.
func (o *Option) Argument() (takes, optional bool) {
	arg := o.row().arg
	return arg != argNone, arg == argOptional
}

// Command reports whether the option is a command: one of those of which a
// command line has exactly one.
func (o *Option) Command() bool { return o.row().action != 0 }

// With reports whether the option may be given with a command.
func (o *Option) With(command *Option) bool {
	action := command.row().action
	r := &commandRows[action]
	for i := range options {
		own := &options[i]
		if own.long != o.Long {
			continue
		}
		col := own.col
		if o.Long == "ipv6" {
			col = colService // it is part of -f
		}
		if own.action == 0 && (r.must | r.may | r.one).has(col) && (own.only == 0 || own.only&(1<<action) != 0) {
			return true
		}
	}
	return false
}

// spelling is the option as the help shows it, "-w, --weight N", with room for the
// letter if there is none.
func (o *Option) spelling(between string) string {
	s := strings.Repeat(" ", 2+len(between)) + "--" + o.Long
	if c := o.Short(); c != 0 {
		s = "-" + string(c) + between + "--" + o.Long
	}
	if o.Value != "" {
		s += " " + o.Value
	}
	return s
}
