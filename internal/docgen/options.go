package main

import (
	"strings"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// options are all options of ipvsadm's language: commands, and what goes with
// them.
func options() (commands, others []*ipvsadm.Option) {
	for _, g := range ipvsadm.Manual() {
		for i := range g.Options {
			if o := &g.Options[i]; o.Command() {
				commands = append(commands, o)
			} else {
				others = append(others, o)
			}
		}
	}
	return commands, others
}

// with are the options that go with a command and have an effect on it.
func with(command *ipvsadm.Option) (list []*ipvsadm.Option) {
	_, others := options()
	for _, o := range others {
		if o.With(command) && (command.Long != "list" || o.Long != "syncid") {
			list = append(list, o)
		}
	}
	return list
}

// spellings are "-s" and "--scheduler".
func spellings(o *ipvsadm.Option) []string {
	if c := o.Short(); c != 0 {
		return []string{"-" + string(c), "--" + o.Long}
	}
	return []string{"--" + o.Long}
}

// all are the spellings of a list of options.
func all(list []*ipvsadm.Option) (words []string) {
	for _, o := range list {
		words = append(words, spellings(o)...)
	}
	return words
}

// patterns match the words of a command line that a command can be in: letters
// are bundled, and -L is -l, too.
func patterns(command *ipvsadm.Option) []string {
	p := []string{"--" + command.Long}
	if c := command.Short(); c != 0 {
		p = append(p, "-"+string(c)+"*")
	}
	if command.Long == "list" {
		p = append(p, "-l*")
	}
	return p
}

// What a value is, besides one of a few words.
func isInterface(o *ipvsadm.Option) bool { return o.Value == "IF" }
func isList(o *ipvsadm.Option) bool      { return strings.HasSuffix(o.Value, ",...") }

// flags are the options of a verb.
func flags(v *verbs.Verb) (words []string) {
	for _, f := range v.Flags {
		words = append(words, "--"+f.Name)
	}
	return append(words, "--help")
}

func isPath(f verbs.Flag) bool     { return f.Value == "FILE" }
func isDevice(f verbs.Flag) bool   { return f.Value == "IF" }
func takesFile(v *verbs.Verb) bool { return strings.HasSuffix(v.Args, "FILE") }
func isHelp(v *verbs.Verb) bool    { return v.Name == "help" }

// helpWords are what goipvs help explains.
func helpWords() (words []string) {
	for _, t := range verbs.Topics() {
		words = append(words, t.Name)
	}
	return append(words, verbNames()...)
}

func verbNames() (words []string) {
	for _, v := range verbs.Verbs() {
		words = append(words, v.Name)
	}
	return words
}

// sentence makes a brief text one.
func sentence(brief string) string {
	return strings.ToUpper(brief[:1]) + brief[1:] + "."
}

// quote makes text a word of the shell in single quotes.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
