package config

import (
	"strconv"
	"strings"
)

// Problem is something wrong in a file.
type Problem struct {
	File string
	Line int    // 0: the file as a whole
	Text string // what is wrong
	Hint string // what may help; empty: nothing known
}

// String is "file:line: text" without the hint.
func (p Problem) String() string {
	where := p.File
	if p.Line != 0 {
		where += ":" + strconv.Itoa(p.Line)
	}
	if where == "" {
		return p.Text
	}
	return where + ": " + p.Text
}

// Errors are all problems of a configuration, in the order of the files.
type Errors []Problem

// Error has a line for each problem, and one for its hint.
func (e Errors) Error() string {
	var b strings.Builder
	for i, p := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
		if p.Hint != "" {
			b.WriteString("\n  hint: " + p.Hint)
		}
	}
	return b.String()
}
