package importer

import (
	"slices"
	"strings"
)

// block is a keyword with its words, and what stands in its braces.
type block struct {
	place
	words []string
	sub   []*block
	skip  string // why it does not count; empty: it does
	open  bool   // it has braces
}

func (b *block) name() string { return b.words[0] }

// arg is the i-th word behind the keyword, or empty.
func (b *block) arg(i int) string {
	if i+1 < len(b.words) {
		return b.words[i+1]
	}
	return ""
}

// last is the last line in the block that counts.
func (b *block) last() *block {
	for _, s := range slices.Backward(b.sub) {
		if s.skip == "" {
			return s
		}
	}
	return nil
}

// lines is how many lines the block has, for messages.
func (b *block) lines() int {
	n := 1
	for _, s := range b.sub {
		n += s.lines()
	}
	return n
}

const maxBraces = 32

const unclosed = "%s: its brace is never closed"

// topOnly are keywords that stand in no block: where one is met in a block, a brace
// is missing. keepalived mixes two services up there, and reads on.
var topOnly = set("virtual_server virtual_server_group")

// tree puts lines into blocks by their braces.
func (r *lineReader) tree() []*block {
	root := &block{}
	stack := []*block{root}
	for _, l := range r.out {
		stack = r.line(l, stack)
	}
	if len(stack) > 1 {
		r.lose(stack[len(stack)-1].place, unclosed, stack[len(stack)-1].name())
	}
	return root.sub
}

// line adds the words of a line to the innermost block. A brace may follow on
// its own line, stand right behind a word, or be closed on the same line.
func (r *lineReader) line(l kaLine, stack []*block) []*block {
	var cur *block
	if l.skip != "" { // its braces do not count either
		if words := tokens(l.text); len(words) > 0 {
			top := stack[len(stack)-1]
			top.sub = append(top.sub, &block{place: l.place, words: []string{word(words[0])}, skip: l.skip})
		}
		return stack
	}
	for i, w := range tokens(l.text) {
		if i == 0 && len(stack) > 1 && topOnly[w] {
			r.lose(stack[len(stack)-1].place, unclosed, stack[len(stack)-1].name())
			stack = stack[:1]
		}
		top := stack[len(stack)-1]
		switch {
		case w == "{":
			if last := top.last(); cur == nil && last != nil && !last.open {
				cur = last
			}
			if cur == nil || len(stack) > maxBraces {
				r.lose(l.place, "a brace without a keyword")
				cur = &block{place: l.place, words: []string{"{"}}
			}
			cur.open = true
			stack, cur = append(stack, cur), nil
		case w == "}":
			if cur = nil; len(stack) == 1 {
				r.lose(l.place, "a closing brace without an opening one")
			} else if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
		case cur == nil:
			cur = &block{place: l.place, words: []string{word(w)}}
			top.sub = append(top.sub, cur)
		default:
			cur.words = append(cur.words, word(w))
		}
	}
	return stack
}

// quoted marks a token that was in quotes, so that a brace in it is none.
const quoted = "\x01"

func word(w string) string { return strings.TrimPrefix(w, quoted) }

// tokens splits a line at blanks and braces; quotes, anywhere in a word, keep it
// together.
func tokens(s string) (out []string) {
	for i := 0; i < len(s); {
		switch {
		case isBlank(s[i:]) > 0:
			i += isBlank(s[i:])
		case s[i] == '{' || s[i] == '}':
			out = append(out, s[i:i+1])
			i++
		default:
			w, n := token(s[i:])
			out = append(out, w)
			i += n
		}
	}
	return out
}

// token is the word that s begins with, and its length there. A backslash takes
// what is special from a quote or another backslash; elsewhere it stays, for
// expressions and commands.
func token(s string) (w string, n int) {
	var b strings.Builder
	mark, quote := "", byte(0)
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case c == '\\' && n+1 < len(s) && strings.IndexByte("\\\"'", s[n+1]) >= 0 && (quote == 0 || s[n+1] == quote || s[n+1] == '\\'):
			n++
			b.WriteByte(s[n])
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case (c == '"' || c == '\'') && strings.IndexByte(s[n+1:], c) >= 0: // else an apostrophe
			mark, quote = quoted, c
		case c == '{' || c == '}' || isBlank(s[n:]) > 0:
			return mark + b.String(), n
		default:
			b.WriteByte(c)
		}
	}
	return mark + b.String(), n
}

// isBlank is the length of the blank that s begins with. Pages bring no-break
// and ideographic ones along.
func isBlank(s string) int {
	if s[0] == ' ' || s[0] == '\t' || s[0] == '\r' || s[0] == '\n' {
		return 1
	}
	for _, b := range []string{"\u00a0", "\u3000", "\ufeff"} {
		if strings.HasPrefix(s, b) {
			return len(b)
		}
	}
	return 0
}
