package main

import (
	"regexp"
	"strings"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// manPage is goipvs(8).
func manPage() string {
	var b strings.Builder
	b.WriteString(strings.NewReplacer("%s", madeBy, "%d", manDate).Replace(manHead))
	for _, v := range verbs.Verbs() {
		args := ".I " + v.Args
		if len(v.Flags) > 0 {
			args = `.RI [ OPTION "]... " ` + v.Args
		}
		b.WriteString(".B goipvs " + v.Name + "\n" + args + "\n.br\n")
	}
	b.WriteString(strings.TrimPrefix(manAbout, ".br\n"))
	b.WriteString(".SH COMMANDS AND OPTIONS\nDefaults stand in parentheses.\n")
	for _, g := range ipvsadm.Manual() {
		b.WriteString(".SS " + roff(g.Title) + "\n")
		for i := range g.Options {
			manOption(&b, &g.Options[i])
		}
	}
	b.WriteString(".SH VERBS\n")
	for _, v := range verbs.Verbs() {
		manVerb(&b, &v)
	}
	for _, t := range verbs.Topics() {
		b.WriteString(".SH " + strings.ToUpper(t.Name) + "\n")
		for i := range t.Blocks {
			manBlock(&b, &t.Blocks[i])
		}
	}
	b.WriteString(".SH EXAMPLES\n")
	for _, e := range ipvsadm.Examples() {
		b.WriteString(".PP\n" + roff(e.Title) + ":\n")
		manVerbatim(&b, strings.ReplaceAll(e.Lines, "PROG", "goipvs"))
	}
	b.WriteString(manEnd)
	return afterTitle.ReplaceAllString(b.String(), "$1")
}

// afterTitle is a paragraph that begins with its section.
var afterTitle = regexp.MustCompile(`(?m)^(\.SH .*\n)\.PP\n`)

// manOption is an option and, of a command, what goes with it.
func manOption(b *strings.Builder, o *ipvsadm.Option) {
	spelled := strings.Join(spellings(o), ", ")
	b.WriteString(".TP\n" + bold(spelled))
	if o.Value != "" {
		b.WriteString(` \fI` + roff(o.Value) + `\fR`)
	}
	b.WriteString("\n" + manText(sentence(o.Brief)+" "+o.More))
	if !o.Command() {
		return
	}
	var goes []string
	for _, w := range with(o) {
		if s := spellings(w); !strings.Contains(w.Value, "HOST") && w.Value != "MARK" && w.Long != "ipv6" {
			goes = append(goes, s[0])
		}
	}
	if len(goes) > 0 {
		b.WriteString(manText("Takes " + strings.Join(goes, ", ") + "."))
	}
}

func manVerb(b *strings.Builder, v *verbs.Verb) {
	b.WriteString(".SS goipvs " + roff(v.Name+" "+v.Args) + "\n" + manText(sentence(v.Brief)+" "+v.More))
	for _, f := range v.Flags {
		b.WriteString(".TP\n" + bold("--"+f.Name))
		if f.Value != "" {
			b.WriteString(` \fI` + roff(f.Value) + `\fR`)
		}
		b.WriteString("\n" + manText(sentence(f.Brief)))
	}
}

func manBlock(b *strings.Builder, k *verbs.Block) {
	switch {
	case k.Terms != nil:
		for _, t := range k.Terms {
			b.WriteString(".TP\n" + bold(t[0]) + "\n" + manText(sentence(strings.TrimSuffix(t[1], "."))))
		}
	case k.Table != nil:
		manVerbatim(b, verbs.Columns(k.Table))
	case k.Code != "":
		manVerbatim(b, k.Code)
	default:
		b.WriteString(".PP\n" + manText(k.Text))
	}
}

// manVerbatim are lines that stay as they are.
func manVerbatim(b *strings.Builder, text string) {
	b.WriteString(".PP\n.EX\n")
	for line := range strings.Lines(text) {
		b.WriteString(guard(roff(strings.TrimSuffix(line, "\n"))) + "\n")
	}
	b.WriteString(".EE\n")
}
