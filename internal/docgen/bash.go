package main

import (
	"fmt"
	"strings"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm"
)

const bashHead = `# bash completion for goipvs, and for it under the name of ipvsadm
# %s

# _goipvs_offer WORDS: those that begin with what is typed
_goipvs_offer()
{
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# _goipvs_list WORDS: the same, after a comma too
_goipvs_list()
{
	local before=
	if [[ $cur == *,* ]]; then
		before=${cur%%,*},
	fi
	mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "${cur##*,}")
}

_goipvs_interface()
{
	local interfaces=(/sys/class/net/*)
	_goipvs_offer "${interfaces[*]##*/}"
}

# _goipvs_said WORDS: one of them is typed already, as an argument of the verb
_goipvs_said()
{
	local word
	for word in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
		if [[ " $1 " == *" $word "* ]]; then
			return 0
		fi
	done
	return 1
}

_goipvs()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word
	COMPREPLY=()
	# to bash, --scheduler=wlc is three words
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = && $COMP_CWORD -gt 2 ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if [[ ${1##*/} != ipvsadm ]]; then
		if [[ $COMP_CWORD -eq 1 ]]; then
			_goipvs_offer %s
			return
		fi
		case ${COMP_WORDS[1]} in
`

// bashScript is the completion for bash. It needs nothing but bash itself.
func bashScript() string {
	var b strings.Builder
	commands, _ := options()
	fmt.Fprintf(&b, bashHead, madeBy, quote(strings.Join(append(verbNames(), all(commands)...), " ")))
	for _, v := range verbs.Verbs() {
		b.WriteString("\t\t" + v.Name + ")\n" + bashVerb(&v) + "\t\t\treturn ;;\n")
	}
	b.WriteString("\t\tesac\n\tfi\n\tcase $prev in\n")
	bashValues(&b)
	b.WriteString("\tesac\n\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase $word in\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "\t\t%s)\n\t\t\t_goipvs_offer %s\n\t\t\treturn ;;\n", strings.Join(patterns(c), "|"), quote(strings.Join(all(with(c)), " ")))
	}
	fmt.Fprintf(&b, "\t\tesac\n\tdone\n\t_goipvs_offer %s\n}\n", quote(strings.Join(all(commands), " ")))
	b.WriteString("complete -F _goipvs goipvs ipvsadm\ncomplete -W -n ipvsadm-save\n")
	return b.String()
}

func bashVerb(v *verbs.Verb) string {
	if isHelp(v) {
		return "\t\t\t_goipvs_offer " + quote(strings.Join(helpWords(), " ")) + "\n"
	}
	var b strings.Builder
	b.WriteString("\t\t\tcase $prev in\n")
	for _, f := range v.Flags {
		if f.Value != "" {
			fmt.Fprintf(&b, "\t\t\t--%s)\n\t\t\t\t%sreturn ;;\n", f.Name, bashValue(f))
		}
	}
	b.WriteString("\t\t\tesac\n")
	options := "_goipvs_offer " + quote(strings.Join(flags(v), " "))
	rest := options
	switch {
	case takesFile(v):
		rest = "compopt -o default"
	case len(v.Names()) > 0:
		rest = "_goipvs_offer " + quote(strings.Join(v.Names(), " "))
	}
	if rest == options && len(v.Words()) == 0 {
		return b.String() + "\t\t\t" + options + "\n"
	}
	b.WriteString("\t\t\tif [[ $cur == -?* ]]; then\n\t\t\t\t" + options + "\n")
	if words := quote(strings.Join(v.Words(), " ")); words != "''" {
		b.WriteString("\t\t\telif ! _goipvs_said " + words + "; then\n\t\t\t\t_goipvs_offer " + words + "\n")
	}
	b.WriteString("\t\t\telse\n\t\t\t\t" + rest + "\n\t\t\tfi\n")
	return b.String()
}

// bashValue offers what a verb's option takes.
func bashValue(f verbs.Flag) string {
	const next = "\n\t\t\t\t"
	switch {
	case isPath(f):
		return "compopt -o default" + next
	case isDevice(f):
		return "_goipvs_interface" + next
	case len(f.Words) > 0:
		return "_goipvs_offer " + quote(strings.Join(f.Words, " ")) + next
	}
	return ""
}

// bashValues are what comes after options that take something.
func bashValues(b *strings.Builder) {
	commands, others := options()
	var free []string
	for _, o := range append(commands, others...) {
		takes, optional := o.Argument()
		if !takes || optional {
			continue
		}
		offer := bashOffer(o)
		if offer == "" {
			free = append(free, spellings(o)...)
			continue
		}
		fmt.Fprintf(b, "\t%s)\n\t\t%s\n\t\treturn ;;\n", strings.Join(spellings(o), "|"), offer)
	}
	fmt.Fprintf(b, "\t%s)\n\t\treturn ;;\n", strings.Join(free, "|"))
}

func bashOffer(o *ipvsadm.Option) string {
	switch {
	case isList(o):
		return "_goipvs_list " + quote(o.Words)
	case isInterface(o):
		return "_goipvs_interface"
	case o.Words != "":
		return "_goipvs_offer " + quote(o.Words)
	}
	return ""
}
