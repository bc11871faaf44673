package main

import (
	"fmt"
	"strings"

	"github.com/goipvs/goipvs/config"
)

// configReference is the table of all keys, in Markdown.
func configReference() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- %s -->\n\n# goipvs.toml: every key\n\n", madeBy)
	b.WriteString("How the file is read, and why so, is in [config.md](config.md); [goipvs.toml](../examples/config/goipvs.toml) has the keys in their places. " +
		"A key that shows no default has none.\n")
	for _, t := range config.Reference() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | default | |\n|---|---|---|\n", title(t), t.About)
		for _, k := range t.Keys {
			def := ""
			if k.Default != "" {
				def = "`" + cell(k.Default) + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, def, cell(k.Doc))
		}
	}
	b.WriteString("\n## Types of checks\n\nEach takes the keys down to `via`, and its own. A port counts where neither the check nor the server has one.\n\n" +
		"| type | port | up is | keys |\n|---|---|---|---|\n")
	for _, t := range config.CheckTypes() {
		port := ""
		if t.Port != 0 {
			port = fmt.Sprint(t.Port)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", t.Name, port, cell(t.Brief), keyList(t))
	}
	return b.String()
}

func title(t config.Table) string {
	if t.Name == "" {
		return t.Keys[0].Name + ", " + t.Keys[1].Name + ", ..."
	}
	return "`" + t.Name + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// keyList names the keys of a type; what must be there is marked.
func keyList(t config.CheckType) string {
	var out []string
	for _, k := range t.Keys {
		mark := ""
		for _, need := range t.Required {
			if need == k || strings.Contains("|"+need+"|", "|"+k+"|") {
				mark = " (needed)"
				if strings.Contains(need, "|") {
					mark = " (or the other; needed)"
				}
			}
		}
		out = append(out, "`"+k+"`"+mark)
	}
	return strings.Join(out, ", ")
}

const configManHead = `.\" %s
.TH GOIPVS.TOML 5 %s goipvs "File formats"
.nh
.SH NAME
goipvs.toml \- what goipvsd keeps in the kernel's load balancer
.SH SYNOPSIS
.I /etc/goipvs/goipvs.toml
.SH DESCRIPTION
The file is TOML. It is read strictly: unknown keys, values that are none, and
services that are there twice are errors with file and line, and all are told
at once by
.BR "goipvsd \-t" .
A reload takes a file as a whole or not at all.
.PP
Times have a unit: 500ms, 5s, 1m30s, 2h, 14d. Addresses of real servers may be
names, which are looked up in the background, or ranges.
.PP
.B ${NAME}
in login, password, secret, database and webhook is a variable of the
environment; $${ stands for the characters. Files that passwords are read from,
and files that hold some, must not be readable by others.
.PP
.B goipvs import
makes such a file of a configuration of ldirectord or keepalived.
`

const configManEnd = `.SH FILES
.TP
.I /etc/goipvs/goipvs.toml
The file that goipvsd reads when it is told no other.
.SH EXAMPLES
.nf
[[virtual]]
address = "192.0.2.10:80"
scheduler = "wlc"
forward = "dr"
fallback = ["127.0.0.1:80"]

  [virtual.check]
  type = "http"
  request = "/healthz"

  [[virtual.real]]
  address = "192.0.2.21\-192.0.2.24"
.fi
.SH SEE ALSO
.BR goipvs (8),
.BR goipvsd (8)
`

// configMan is goipvs.toml(5).
func configMan() string {
	var b strings.Builder
	fmt.Fprintf(&b, configManHead, madeBy, manDate)
	for i, t := range config.Reference() {
		switch {
		case t.Name != "":
			fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(roff(t.Name)))
		case i == 0:
			b.WriteString(".SH KEYS BEFORE ALL TABLES\n")
		default: // more of them
			b.WriteString(".PP\n")
		}
		b.WriteString(marked(t.About))
		for _, k := range t.Keys {
			b.WriteString(".TP\n" + bold(k.Name))
			if k.Default != "" {
				b.WriteString(" (" + roff(k.Default) + ")")
			}
			b.WriteString("\n" + marked(k.Doc))
		}
	}
	b.WriteString(".SH TYPES OF CHECKS\n")
	for _, t := range config.CheckTypes() {
		b.WriteString(".TP\n" + bold(t.Name) + "\n" + marked(strings.ToUpper(t.Brief[:1])+t.Brief[1:]+"."))
		if len(t.Keys) > 0 {
			b.WriteString(marked("Keys: " + strings.ReplaceAll(keyList(t), " (or the other; needed)", "") + "."))
		}
	}
	return b.String() + configManEnd
}

// marked is Markdown's running text; what is in backticks is bold.
func marked(text string) string {
	parts := strings.Split(strings.TrimSpace(text), "`")
	var b strings.Builder
	for i, p := range parts {
		if p = roff(p); i%2 == 1 {
			p = `\fB` + p + `\fR`
		}
		b.WriteString(p)
	}
	line, out := "", ""
	for w := range strings.FieldsSeq(b.String()) {
		if line != "" && len(line)+1+len(w) > 78 {
			out += guard(line) + "\n"
			line = ""
		}
		line = strings.TrimPrefix(line+" "+w, " ")
	}
	return out + guard(line) + "\n"
}
