package config

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// key is a row: one key of a TOML table, and how its value gets into a T and
// back into text.
type key[T any] struct {
	name string
	zero string // the default as TOML, as documentation shows it; empty: none
	doc  string
	set  func(r *reader, n node, t *T)
	text func(t *T) string // the value as TOML
}

// setDefaults makes t what an empty table means.
func setDefaults[T any](keys []key[T], t *T) {
	r := &reader{}
	for i := range keys {
		k := &keys[i]
		if k.zero == "" {
			continue
		}
		if k.set(r, zeroNode(k.zero), t); len(r.problems) > 0 {
			panic("default of " + k.name + ": " + r.problems.Error())
		}
	}
}

// zeroes are the parsed defaults, by their text: each service asks for them.
var zeroes sync.Map

func zeroNode(text string) node {
	if n, ok := zeroes.Load(text); ok {
		return n.(node)
	}
	t, p := parse("default", "v = "+text)
	if p != nil {
		panic(p.String()) // a row of ours is wrong
	}
	zeroes.Store(text, t.at["v"])
	return t.at["v"]
}

// reader gathers the problems of a file while its values are read.
type reader struct {
	file     string
	problems Errors
	warnings []Problem
	opt      *Options
	mode     os.FileMode // of the file; 0: not from a file
}

func (r *reader) problem(line int, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.file, line, fmt.Sprintf(format, args...), hint})
}

func (r *reader) warn(line int, hint, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{r.file, line, fmt.Sprintf(format, args...), hint})
}

// fill sets the keys that the table has. Other keys, but those in known, are
// problems.
func fill[T any](r *reader, where string, keys []key[T], t *table, into *T, known ...string) {
	for _, name := range t.keys() {
		i := indexOf(keys, name)
		switch {
		case i >= 0:
			keys[i].set(r, t.at[name], into)
		case !slices.Contains(known, name):
			r.unknown(t.at[name].line, where, name, append(names(keys), known...))
		}
	}
}

func indexOf[T any](keys []key[T], name string) int {
	for i := range keys {
		if keys[i].name == name {
			return i
		}
	}
	return -1
}

func names[T any](keys []key[T]) (out []string) {
	for _, k := range keys {
		out = append(out, k.name)
	}
	return out
}

// typed reads a value of type V, or reports that it is none.
func typed[V any](r *reader, n node, key, want string) (v V, ok bool) {
	if v, ok = n.v.(V); !ok {
		r.problem(n.line, "", "%s: want %s, found %s", key, want, kind(n.v))
	}
	return v, ok
}

func kind(v any) string {
	switch v := v.(type) {
	case string:
		return "the text " + quote(clip(v))
	case bool:
		return "the truth value " + strconv.FormatBool(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		return "the number " + formatFloat(v)
	case *table:
		return "a table"
	case []node:
		return "an array"
	}
	return "a date or time"
}

// clip keeps messages short.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "..."
	}
	return s
}

// textKey is a key whose value is text; check says what is wrong with it.
func textKey[T any, S ~string](name, zero, doc string, at func(*T) *S, check func(string) error) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			s, ok := typed[string](r, n, name, "a text in quotes")
			if !ok {
				return
			}
			if err := checkText(s, check); err != nil {
				r.problem(n.line, hintOf(err), "%s: %v", name, err)
				return
			}
			*at(t) = S(s)
		},
		func(t *T) string { return quote(string(*at(t))) },
	}
}

// checkText also refuses what no value of ours may hold.
func checkText(s string, check func(string) error) error {
	switch {
	case len(s) > maxText:
		return fmt.Errorf("%d bytes are too long (at most %d)", len(s), maxText)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%s has a zero byte", quote(clip(s)))
	case check != nil && s != "":
		return check(s)
	}
	return nil
}

const maxText = 16 << 10

// choiceKey is a key whose value is one of some words.
func choiceKey[T any, S ~string](name, zero, doc string, at func(*T) *S, options ...S) key[T] {
	return textKey(name, zero, doc, at, func(s string) error { return oneOf(s, options) })
}

func oneOf[S ~string](s string, options []S) error {
	var list []string
	for _, o := range options {
		if string(o) == s {
			return nil
		}
		list = append(list, string(o))
	}
	return hinted{fmt.Errorf("unknown word %s (one of %s)", quote(clip(s)), strings.Join(list, ", ")), didYouMean(s, list)}
}

func boolKey[T any](name, zero, doc string, at func(*T) *bool) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			if b, ok := typed[bool](r, n, name, "true or false"); ok {
				*at(t) = b
			}
		},
		func(t *T) string { return strconv.FormatBool(*at(t)) },
	}
}

func intKey[T any, N ~int | ~int32 | ~uint16 | ~uint32](name, zero, doc string, at func(*T) *N, low, high int64) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			i, ok := typed[int64](r, n, name, "a whole number")
			switch {
			case !ok:
			case i < low || i > high:
				r.problem(n.line, "", "%s: %d is not within %d to %d", name, i, low, high)
			default:
				*at(t) = N(i)
			}
		},
		func(t *T) string { return strconv.FormatInt(int64(*at(t)), 10) },
	}
}

// shareKey is a number from 0 to 1.
func shareKey[T any](name, zero, doc string, at func(*T) *float64) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			f, ok := n.v.(float64)
			if i, isInt := n.v.(int64); isInt {
				f, ok = float64(i), true
			}
			switch {
			case !ok:
				r.problem(n.line, "", "%s: want a number from 0 to 1, found %s", name, kind(n.v))
			case math.IsNaN(f) || f < 0 || f > 1:
				r.problem(n.line, "a share is a number like 0.5, not a percentage", "%s: %s is not within 0 to 1", name, formatFloat(f))
			default:
				*at(t) = f
			}
		},
		func(t *T) string { return formatFloat(*at(t)) },
	}
}

// spanKey is a length of time. Zero is taken if low is not above it, empty text
// is zero if zero is the default.
func spanKey[T any](name, zero, doc string, at func(*T) *time.Duration, low, high time.Duration) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			s, ok := typed[string](r, n, name, `a time in quotes, like "5s"`)
			if !ok {
				return
			}
			if s == "" && zero == `""` {
				*at(t) = 0
				return
			}
			d, err := ParseDuration(s)
			switch {
			case err != nil:
				r.problem(n.line, hintOf(err), "%s: %v", name, err)
			case d < low || d > high:
				r.problem(n.line, "", "%s: %s is not within %s to %s", name, s, FormatDuration(low), FormatDuration(high))
			default:
				*at(t) = d
			}
		},
		func(t *T) string {
			if *at(t) == 0 && zero == `""` {
				return `""`
			}
			return quote(FormatDuration(*at(t)))
		},
	}
}

// listKey is an array of texts; check is of each.
func listKey[T any](name, zero, doc string, at func(*T) *[]string, check func(string) error) key[T] {
	return key[T]{name, zero, doc,
		func(r *reader, n node, t *T) {
			if l, ok := r.texts(n, name, check); ok {
				*at(t) = l
			}
		},
		func(t *T) string { return quoteList(*at(t)) },
	}
}

func (r *reader) texts(n node, key string, check func(string) error) (out []string, ok bool) {
	l, ok := typed[[]node](r, n, key, `an array of texts, like ["a", "b"]`)
	if !ok {
		return nil, false
	}
	if len(l) > maxList {
		r.problem(n.line, "", "%s: %d elements are too many (at most %d)", key, len(l), maxList)
		return nil, false
	}
	for _, e := range l {
		s, isText := typed[string](r, e, key, "a text in quotes")
		if !isText {
			ok = false
			continue
		}
		if err := checkText(s, check); err != nil {
			r.problem(e.line, hintOf(err), "%s: %v", key, err)
			ok = false
			continue
		}
		out = append(out, s)
	}
	return out, ok
}

const maxList = 4096
