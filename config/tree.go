package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// table is a table of a file as it was written: nothing of it is checked.
type table struct {
	file string
	line int
	at   map[string]node
}

// node is a value in the file: a string, int64, float64, bool, a date, []node
// or *table.
type node struct {
	line int
	v    any
}

// keys are the table's keys as they stand in the file.
func (t *table) keys() (out []string) {
	for k := range t.at {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b string) int {
		if d := t.at[a].line - t.at[b].line; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return out
}

// parse reads TOML. The problem it finds is the first one only.
func parse(file, src string) (*table, *Problem) {
	at, p := lines(src)
	if p != nil {
		p.File = file
		return nil, p
	}
	raw := map[string]any{}
	if _, err := toml.Decode(src, &raw); err != nil {
		return nil, syntaxProblem(file, err)
	}
	t := tree{file, at}.table("", raw, 1)
	return t, nil
}

func syntaxProblem(file string, err error) *Problem {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &Problem{File: file, Text: err.Error()}
	}
	text := pe.Message
	if text == "" {
		text = strings.TrimPrefix(pe.Error(), fmt.Sprintf("toml: line %d: ", pe.Position.Line))
	}
	p := &Problem{File: file, Line: pe.Position.Line, Text: text}
	if strings.Contains(text, `but got '\n'`) && p.Line > 1 { // the library has read the line's end
		p.Line--
	}
	if _, hint, ok := strings.Cut(pe.ErrorWithUsage(), "Error help:\n"); ok && !strings.Contains(hint, "bug in the") {
		p.Hint = strings.Join(strings.Fields(hint), " ")
	}
	if p.Hint == "" && strings.HasPrefix(text, "expected value but found") && !strings.Contains(text, `'\n'`) {
		p.Hint = `text stands in straight quotes: key = "text"`
	}
	return p
}

type tree struct {
	file string
	at   map[string]int
}

func (r tree) table(path string, m map[string]any, line int) *table {
	t := &table{file: r.file, line: line, at: make(map[string]node, len(m))}
	for k, v := range m {
		p := join(path, k)
		t.at[k] = r.node(p, v, line)
	}
	return t
}

func (r tree) node(path string, v any, line int) node {
	if l, ok := r.at[path]; ok {
		line = l
	}
	n := node{line: line, v: v}
	switch v := v.(type) {
	case map[string]any:
		n.v = r.table(path, v, line)
	case []map[string]any:
		n.v = list(v, func(i int, e map[string]any) node { return r.node(element(path, i), e, line) })
	case []any:
		n.v = list(v, func(i int, e any) node { return r.node(element(path, i), e, line) })
	}
	return n
}

func list[T any](in []T, f func(int, T) node) []node {
	out := make([]node, len(in))
	for i, e := range in {
		out[i] = f(i, e)
	}
	return out
}
