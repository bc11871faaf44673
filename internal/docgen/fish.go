package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm"
)

const fishHead = `# fish completion for goipvs, and for it under the name of ipvsadm
# %s

function __goipvs_start -d 'Nothing is typed yet'
    test (count (commandline -opc)) -eq 1
end

function __goipvs_verb -d 'The command line is that of one of these verbs'
    set -l words (commandline -opc)
    set -q words[2]
    and contains -- $words[2] $argv
end

function __goipvs_command -d 'The command line has one of these commands'
    for word in (commandline -opc)[2..]
        switch $word
`

// fishScript is the completion for fish.
func fishScript() string {
	var b strings.Builder
	fmt.Fprintf(&b, fishHead, madeBy)
	commands, others := options()
	for _, c := range commands {
		p := patterns(c)
		for i := range p {
			p[i] = quote(p[i])
		}
		fmt.Fprintf(&b, "            case %s\n                contains -- %s $argv\n                return\n", strings.Join(p, " "), c.Long)
	}
	b.WriteString("        end\n    end\n    return 1\nend\n\ncomplete -c goipvs -c ipvsadm -f\n")
	for _, c := range commands {
		when := "__goipvs_start"
		if c.Words != "" { // which are typed when it is
			when = "'__goipvs_start; or __goipvs_command " + c.Long + "'"
		}
		b.WriteString("complete -c goipvs -c ipvsadm -n " + when + fishOption(c) + "\n")
	}
	for _, o := range others {
		var names []string
		for _, c := range commands {
			if slices.Contains(with(c), o) {
				names = append(names, c.Long)
			}
		}
		if len(names) > 0 {
			b.WriteString("complete -c goipvs -c ipvsadm -n " + quote("__goipvs_command "+strings.Join(names, " ")) + fishOption(o) + "\n")
		}
	}
	for _, v := range verbs.Verbs() {
		fishVerb(&b, &v)
	}
	b.WriteString("complete -c ipvsadm-save -f -s n -d 'numbers, not names'\ncomplete -c ipvsadm-restore -f\n")
	return b.String()
}

func fishOption(o *ipvsadm.Option) string {
	s := " -l " + o.Long
	if c := o.Short(); c != 0 {
		s = " -s " + string(c) + s
	}
	switch takes, optional := o.Argument(); {
	case isInterface(o):
		s += " -x -a '(__fish_print_interfaces)'"
	case o.Words != "":
		s += " -x -a " + quote(o.Words)
	case takes && !optional:
		s += " -x"
	}
	return s + " -d " + quote(o.Brief)
}

// fishVerb completes a verb and its options; under the name of ipvsadm there are
// none.
func fishVerb(b *strings.Builder, v *verbs.Verb) {
	fmt.Fprintf(b, "complete -c goipvs -n __goipvs_start -a %s -d %s\n", v.Name, quote(v.Brief))
	in := " -n " + quote("__goipvs_verb "+v.Name)
	if isHelp(v) {
		b.WriteString("complete -c goipvs" + in + " -a " + quote(strings.Join(helpWords(), " ")) + "\n")
		return
	}
	rest := in
	if words := strings.Join(v.Words(), " "); words != "" {
		said := "__goipvs_verb " + v.Name + "; and %s__fish_seen_subcommand_from " + words
		b.WriteString("complete -c goipvs -n " + quote(fmt.Sprintf(said, "not ")) + " -a " + quote(words) + "\n")
		rest = " -n " + quote(fmt.Sprintf(said, ""))
	}
	if takesFile(v) {
		b.WriteString("complete -c goipvs" + rest + " -F\n")
	}
	if names := strings.Join(v.Names(), " "); names != "" {
		b.WriteString("complete -c goipvs" + rest + " -a " + quote(names) + "\n")
	}
	for _, f := range v.Flags {
		takes := fishValue(f)
		b.WriteString("complete -c goipvs" + in + " -l " + f.Name + takes + " -d " + quote(f.Brief) + "\n")
	}
	b.WriteString("complete -c goipvs" + in + " -l help -d 'print this'\n")
}

// fishValue completes what a verb's option takes.
func fishValue(f verbs.Flag) string {
	switch {
	case f.Value == "":
		return ""
	case isPath(f):
		return " -r -F"
	case isDevice(f):
		return " -x -a '(__fish_print_interfaces)'"
	case len(f.Words) > 0:
		return " -x -a " + quote(strings.Join(f.Words, " "))
	}
	return " -x"
}
