package main

import (
	"regexp"
	"strings"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// manDate is the day of the last change that readers would notice.
const manDate = "2026-11-22"

const manHead = `.\" %s
.TH GOIPVS 8 %d goipvs "System administration"
.nh
.SH NAME
goipvs, ipvsadm, ipvsadm\-save, ipvsadm\-restore \- the kernel's load balancer
.SH SYNOPSIS
.B goipvs
.I COMMAND
.RI [ OPTION ]...
.br
`

const manAbout = `.br
.B ipvsadm
.I COMMAND
.RI [ OPTION ]...
.br
.B ipvsadm\-save
.RB [ \-n ]
.br
.B ipvsadm\-restore <
.I FILE
.SH DESCRIPTION
IPVS, a part of the Linux kernel, offers virtual services: it forwards each
connection to one of the real servers of its service.
.B goipvs
sets services and real servers up, changes and lists them.
.PP
Its commands and options are those of
.BR ipvsadm ,
and more. Called
.B ipvsadm
it is that program. There are no verbs then.
.B ipvsadm\-save
is
.BR "goipvs \-S" .
.B ipvsadm\-restore
is described under
.BR RESTORE .
.PP
Letters may be joined
.RB ( \-Ln ),
values may follow their letter at once
.RB ( \-w5 )
or an equals sign
.RB ( \-\-weight=5 ).
The command comes first. The order of the rest has no meaning, but that
.B \-6
follows
.BR \-f ,
and
.B \-r
follows the service if its port is given by name.
`

const manEnd = `.SH EXIT STATUS
Of commands:
.TP
.B 0
Done.
.TP
.B 1
A list could not be made: there is no such service, above all. Also full NAT,
which is not in this version.
.TP
.B 2
The command line or a rule is wrong, the kernel has no IPVS, or the right to
use it is missing.
.TP
.B 255
The kernel refused a change, or an option does not exist.
.PP
Of verbs: 0 done, 1 the kernel refused something, 2 the command line or a rule
is wrong. With
.B \-\-detailed\-exitcode
0 means that nothing was to be changed, 2 that something was, 1 all else.
.SH FILES
.TP
.I /proc/net/ip_vs_conn
The connections that
.B \-L \-c
lists.
.TP
.I /etc/services
Names of ports.
.SH NOTES
All commands but
.B \-\-help
and
.B \-\-version
need the capability CAP_NET_ADMIN and the kernel's module ip_vs, which the
kernel loads itself if it can. Wrong command lines are found without either.
.SH SEE ALSO
.BR ip (8),
.BR modprobe (8),
.BR nft (8),
.BR sysctl (8)
`

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
		b.WriteString(".TP\n" + bold("--"+f.Name) + "\n" + manText(sentence(f.Brief)))
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

// optionWord is an option in text that went through roff.
var optionWord = regexp.MustCompile(`(^|[ (])((?:\\-){1,2}[a-zA-Z0-9](?:[a-z]|\\-)*)`)

// manText is running text, each sentence on lines of its own, options in bold.
func manText(text string) string {
	var b strings.Builder
	for s := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(text), ". ", ".\n"), "\n") {
		line := ""
		for w := range strings.FieldsSeq(optionWord.ReplaceAllString(roff(s), `${1}\fB${2}\fR`)) {
			if line != "" && len(line)+1+len(w) > 78 {
				b.WriteString(guard(line) + "\n")
				line = ""
			}
			line = strings.TrimPrefix(line+" "+w, " ")
		}
		b.WriteString(guard(line) + "\n")
	}
	return b.String()
}

func bold(s string) string { return `\fB` + roff(s) + `\fR` }

// roff guards the characters that typesetters change: without the backslash a
// minus is a hyphen, and cannot be found or pasted.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// guard keeps a line from being a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, `\(aq`) {
		return `\&` + line
	}
	return line
}
