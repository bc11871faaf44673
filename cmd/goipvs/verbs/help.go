package verbs

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/sysctl/tune"
)

// Verb is what help, manual page and completions say about a verb.
type Verb struct {
	Name, Args  string // "apply", "FILE"
	Brief, More string // a few words; sentences
	Flags       []Flag
}

// Flag is an option of a verb. Value is what it takes, empty when nothing; Words
// are values that it may have, empty where it takes anything.
type Flag struct {
	Name, Value, Brief string
	Words              []string
}

// valueWords are what a flag takes, by the name of its value.
var valueWords = map[string][]string{
	"MODE":    {"dr", "tun"},
	"TUNNEL":  {"ipip", "gre", "gue:"},
	"VERSION": {"4", "6"},
	"METHOD":  {"nat", "dr", "tun", "gre", "gue:"},
	"WORD":    {"connections", "active", "bytes", "weight"},
	"NAME":    config.Schedulers(),
}

// Spelled is the flag as one types it: "--for TIME".
func (f Flag) Spelled() string { return strings.TrimSpace("--" + f.Name + " " + f.Value) }

// Verbs describes all verbs, in the order of their list.
func Verbs() (all []Verb) {
	for _, c := range (&verbs{}).commands() {
		all = append(all, describe(c))
	}
	return all
}

func describe(c *cli.Command) Verb {
	v := Verb{Name: c.Name, Args: c.ArgsUsage, Brief: c.Usage, More: c.Description}
	for _, f := range c.Flags {
		v.Flags = append(v.Flags, describeFlag(f))
	}
	return v
}

// describeFlag takes the name of a flag's value from the words in backquotes of
// its usage, as the library does.
func describeFlag(f cli.Flag) Flag {
	doc := f.(cli.DocGenerationFlag)
	out := Flag{Name: f.Names()[0], Brief: doc.GetUsage()}
	if !doc.TakesValue() {
		return out
	}
	if parts := strings.SplitN(out.Brief, "`", 3); len(parts) == 3 {
		out.Value, out.Brief = parts[1], strings.Join(parts, "")
		out.Words = valueWords[out.Value]
		return out
	}
	out.Value = "VALUE"
	return out
}

// Words are what the first argument may be, such as add and del; none where it
// is something else.
func (v Verb) Words() []string {
	first, _, _ := strings.Cut(v.Args, " ")
	if words := strings.Split(first, "|"); len(words) > 1 && first == strings.ToLower(first) {
		return words
	}
	return nil
}

// Names are what the arguments behind the first may be; none where they are
// something else.
func (v Verb) Names() (names []string) {
	if v.Name == "tune" {
		for _, k := range tune.Knobs() {
			names = append(names, k.Name())
		}
	}
	return names
}

// Page is the verb's help as text for a terminal.
func (v Verb) Page() string {
	var b strings.Builder
	b.WriteString("Usage: goipvs " + v.Name)
	if len(v.Flags) > 0 {
		b.WriteString(" [OPTION]...")
	}
	b.WriteString(strings.TrimRight(" "+v.Args, " ") + "\n\n")
	blocks := []Block{{Text: strings.ToUpper(v.Brief[:1]) + v.Brief[1:] + ". " + v.More}}
	if len(v.Flags) > 0 {
		var terms [][2]string
		for _, f := range v.Flags {
			terms = append(terms, [2]string{f.Spelled(), f.Brief})
		}
		blocks = append(blocks, Block{Terms: terms})
	}
	for i := range blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		blocks[i].write(&b)
	}
	return b.String()
}

func (v *verbs) help() *cli.Command {
	var names []string
	for _, t := range Topics() {
		names = append(names, t.Name)
	}
	return &cli.Command{
		Name: "help", ArgsUsage: "[TOPIC|VERB]",
		Usage:       "explain a topic or a verb",
		Description: "The topics are " + strings.Join(names, ", ") + ". Without one, all topics and verbs are listed.",
		Action:      v.explain,
	}
}

func (v *verbs) explain(c *cli.Context) error {
	if c.NArg() > 1 {
		return usageError{fmt.Errorf("goipvs help takes one TOPIC or VERB")}
	}
	text, ok := page(c.Args().First())
	if !ok {
		return usageError{fmt.Errorf("no help on %q (try \"goipvs help\")", c.Args().First())}
	}
	_, err := io.WriteString(v.out, text)
	return err
}

// page finds a page of help; that without a name is the list of all.
func page(name string) (text string, ok bool) {
	if name == "" {
		return contents(), true
	}
	for _, t := range Topics() {
		if t.Name == name {
			return t.Page(), true
		}
	}
	for _, v := range Verbs() {
		if v.Name == name {
			return v.Page(), true
		}
	}
	return "", false
}

func contents() string {
	var verbs, topics [][2]string
	for _, v := range Verbs() {
		verbs = append(verbs, [2]string{v.Name + " " + v.Args, v.Brief})
	}
	for _, t := range Topics() {
		topics = append(topics, [2]string{t.Name, t.Brief})
	}
	var b strings.Builder
	b.WriteString("Usage: goipvs help [TOPIC|VERB]\n\nVerbs\n")
	writeTerms(&b, verbs)
	b.WriteString("\nTopics\n")
	writeTerms(&b, topics)
	b.WriteString("\ngoipvs --help lists the options, which are those of ipvsadm and some more.\n")
	return b.String()
}
