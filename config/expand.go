package config

import (
	"fmt"
	"strings"
)

// secretKey is a key whose value is a secret: ${NAME} in it is replaced.
func secretKey[T any](name, zero, doc string, at func(*T) *Secret, check func(string) error) key[T] {
	return expanded(name, zero, doc+" `${NAME}` in it is the environment's.", at, check, true)
}

// expandedKey is a key whose value is no secret but may come from the
// environment as well.
func expandedKey[T any](name, zero, doc string, at func(*T) *string, check func(string) error) key[T] {
	return expanded(name, zero, doc+" `${NAME}` in it is the environment's.", at, check, false)
}

func expanded[T any, S ~string](name, zero, doc string, at func(*T) *S, check func(string) error, secret bool) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			s, ok := n.v.(string)
			if !ok {
				r.problem(n.line, "", "%s: want a text in quotes", name) // the value is not shown
				return
			}
			out, inline, err := r.expand(s)
			if err == nil {
				err = checkText(out, check)
			}
			if err != nil {
				r.problem(n.line, hintOf(err), "%s: %v", name, err)
				return
			}
			if secret && inline && out != "" {
				r.inline(n.line, name)
			}
			*at(t) = S(out)
		},
		func(t *T) string { return quote(strings.ReplaceAll(string(*at(t)), "${", "$${")) },
	}
}

// expand replaces ${NAME} by the variable; $${ stands for ${. It tells whether
// anything but variables was in s.
func (r *reader) expand(s string) (out string, inline bool, err error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "${")
		if !ok {
			b.WriteString(s)
			return b.String(), inline || s != "", nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before + "{")
			inline, s = true, after
			continue
		}
		name, rest, ok := strings.Cut(after, "}")
		if !ok || !isVariable(name) {
			return "", false, hinted{fmt.Errorf("bad variable after ${"), "${NAME} is a variable of the environment; write $${ for the characters"}
		}
		value, known := "${"+name+"}", true // nobody to ask
		if r.opt != nil && r.opt.Getenv != nil {
			value, known = r.opt.Getenv(name)
		}
		if !known {
			return "", false, hinted{fmt.Errorf("the environment has no %s", name), "set it for the daemon, in its unit: Environment= or EnvironmentFile="}
		}
		b.WriteString(before + value)
		inline, s = inline || before != "", rest
	}
}

func isVariable(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
