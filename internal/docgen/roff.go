package main

import (
	"regexp"
	"strings"
)

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
