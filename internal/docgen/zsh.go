package main

import (
	"fmt"
	"strings"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm"
)

const zshHead = `#compdef goipvs ipvsadm ipvsadm-save ipvsadm-restore
# %s

_goipvs() {
  local word
  local -a commands verbs specs
  case $service in
  ipvsadm-save)
    _arguments %s
    return ;;
  ipvsadm-restore)
    _message 'rules on standard input'
    return ;;
  esac
`

// zshScript is the completion for zsh.
func zshScript() string {
	var b strings.Builder
	fmt.Fprintf(&b, zshHead, madeBy, quote("-n["+zshText("numbers, not names")+"]"))
	b.WriteString("  if (( CURRENT == 2 )); then\n    commands=(\n")
	commands, _ := options()
	for _, c := range commands {
		for _, s := range spellings(c) {
			b.WriteString("      " + quote(zshText(s)+":"+c.Brief) + "\n")
		}
	}
	b.WriteString("    )\n    verbs=(\n")
	for _, v := range verbs.Verbs() {
		b.WriteString("      " + quote(v.Name+":"+v.Brief) + "\n")
	}
	b.WriteString("    )\n    _describe -o command commands\n    [[ $service == goipvs ]] && _describe verb verbs\n    return\n  fi\n")
	b.WriteString("  if [[ $service == goipvs ]]; then\n    case $words[2] in\n")
	for _, v := range verbs.Verbs() {
		b.WriteString("    " + v.Name + ")\n      shift words\n      (( CURRENT-- ))\n      _arguments" + zshVerb(&v) + "\n      return ;;\n")
	}
	b.WriteString("    esac\n  fi\n  for word in ${words[2,CURRENT-1]}; do\n    case $word in\n")
	for _, c := range commands {
		b.WriteString("    " + strings.Join(patterns(c), "|") + ")\n      specs=(\n")
		for _, o := range append([]*ipvsadm.Option{c}, with(c)...) {
			b.WriteString("        " + zshSpec(o) + "\n")
		}
		b.WriteString("      )\n      break ;;\n")
	}
	b.WriteString("    esac\n  done\n  _arguments -s $specs\n}\n\n_goipvs \"$@\"\n")
	return b.String()
}

// zshText guards what has a meaning within the argument of _arguments.
func zshText(s string) string {
	return strings.NewReplacer(":", `\:`, "[", `\[`, "]", `\]`).Replace(s)
}

func zshVerb(v *verbs.Verb) string {
	if isHelp(v) {
		return " " + quote("1:topic or verb:("+strings.Join(helpWords(), " ")+")")
	}
	var b strings.Builder
	for _, f := range v.Flags {
		value := ""
		equals := ""
		if f.Value != "" {
			equals, value = "=", ":"+zshText(f.Value)+":"+zshValue(f)
		}
		b.WriteString(" \\\n        " + quote("--"+f.Name+equals+"["+zshText(f.Brief)+"]"+value))
	}
	b.WriteString(" \\\n        '--help[print this]'")
	place := "1"
	if words := v.Words(); len(words) > 0 {
		b.WriteString(" \\\n        " + quote("1:what:("+strings.Join(words, " ")+")"))
		place = "*"
	}
	switch {
	case takesFile(v):
		b.WriteString(" \\\n        '" + place + ":FILE:_files'")
	case len(v.Names()) > 0:
		b.WriteString(" \\\n        " + quote("*:NAME:("+strings.Join(v.Names(), " ")+")"))
	case place == "*":
		b.WriteString(" \\\n        '*: '")
	}
	return b.String()
}

// zshValue completes what a verb's option takes.
func zshValue(f verbs.Flag) string {
	switch {
	case isPath(f):
		return "_files"
	case isDevice(f):
		return "_net_interfaces"
	case len(f.Words) > 0:
		return "(" + zshText(strings.Join(f.Words, " ")) + ")"
	}
	return ""
}

// zshSpec is the option as _arguments wants it: the spellings exclude each
// other, a value may be glued to the letter or follow "=".
func zshSpec(o *ipvsadm.Option) string {
	takes, optional := o.Argument()
	after, text := "", "["+zshText(o.Brief)+"]"
	if takes {
		after = ":" + zshText(o.Value) + ":" + zshAction(o)
	}
	if optional {
		after = ":" + after
	}
	s := spellings(o)
	short, long := "", "--"+o.Long
	if takes {
		short, long = "+", long+"="
	}
	if len(s) == 1 {
		return quote(long + text + after)
	}
	return quote("("+s[0]+" "+s[1]+")") + "{" + s[0] + short + "," + long + "}" + quote(text+after)
}

func zshAction(o *ipvsadm.Option) string {
	switch {
	case isList(o):
		return "_values -s , flag " + o.Words
	case isInterface(o):
		return "_net_interfaces"
	case o.Words != "":
		return "(" + o.Words + ")"
	}
	return ""
}
