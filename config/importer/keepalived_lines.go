package importer

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// What keepalived does to lines before it looks at them: comments, included
// files, definitions, conditions and repetitions.

// kaLine is a line as it counts.
type kaLine struct {
	place
	text string
	skip string // why the line does not count; empty: it does
}

const (
	maxExpanded = 20_000 // lines that a file may become
	maxNested   = 16     // of includes, and of definitions in definitions
	maxKaLine   = 64 << 10
)

// lineReader expands the lines of keepalived's files.
type lineReader struct {
	*builder
	defs  map[string][]string // lines of a definition
	out   []kaLine
	depth int // of includes
	steps int // lines looked at
	full  bool
}

// file reads the lines of one file.
func (r *lineReader) file(name, src string) {
	src = strings.NewReplacer("\x00", "", "\x01", "").Replace(strings.TrimPrefix(src, "\ufeff"))
	lines := strings.Split(src, "\n")
	for i := 0; i < len(lines) && !r.full; i++ {
		p := place{name, i + 1}
		if len(lines[i]) > maxKaLine {
			r.lose(p, "a line of %d bytes: left out", len(lines[i]))
			continue
		}
		text := strings.TrimSpace(decomment(lines[i]))
		body := []string{text}
		_, _, defines := definition(text)
		for more := continued(text); more && i+1 < len(lines); {
			i++
			text = strings.TrimSpace(decomment(lines[i]))
			// In a definition a comment does not hide the backslash behind it.
			more = continued(text) || defines && continued(strings.TrimSpace(lines[i]))
			body = append(body, text)
		}
		for j := range body {
			body[j] = strings.TrimSpace(strings.TrimSuffix(body[j], `\`))
		}
		r.statement(p, body)
	}
}

func continued(s string) bool { return strings.HasSuffix(s, `\`) }

// statement takes a definition, or a line with those that continue it.
func (r *lineReader) statement(p place, body []string) {
	text, skip := r.condition(body[0])
	if name, value, ok := definition(text); ok {
		if skip == "" {
			body[0] = value
			if len(body) > 1 && value == "" {
				body = body[1:]
			}
			r.defs[name] = body
		}
		return
	}
	body[0] = text
	r.expand(p, strings.Join(body, " "), skip, 0)
}

// condition cuts @ID and @^ID off and tells when that is not ours.
func (r *lineReader) condition(text string) (rest, skip string) {
	if !strings.HasPrefix(text, "@") {
		return text, ""
	}
	id, rest, _ := strings.Cut(text[1:], " ")
	if i := strings.IndexByte(id, '\t'); i >= 0 {
		id, rest = id[:i], id[i+1:]+" "+rest
	}
	rest = strings.TrimSpace(rest)
	if not, ok := strings.CutPrefix(id, "^"); ok {
		if not == r.opt.ConfigID && not != "" {
			return rest, "is for others than " + not
		}
		return rest, ""
	}
	if id == "" || id == r.opt.ConfigID {
		return rest, ""
	}
	return rest, "is for " + clip(id) + " only"
}

// definition splits $NAME=VALUE.
func definition(text string) (name, value string, ok bool) {
	if !strings.HasPrefix(text, "$") {
		return "", "", false
	}
	name, value, ok = strings.Cut(text[1:], "=")
	name = strings.TrimSpace(name)
	return name, strings.TrimSpace(value), ok && isDefinitionName(name)
}

func isDefinitionName(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// expand puts the values of definitions into a line and repeats it as ~SEQ and
// ~LST say. What comes out may be several lines.
func (r *lineReader) expand(p place, text, skip string, depth int) {
	if r.steps++; r.steps > 10*maxExpanded && !r.full {
		r.full = true
		r.lose(p, "the definitions make too many lines: the rest is left out")
	}
	if r.full || text == "" {
		return
	}
	if depth > maxNested || len(text) > maxKaLine {
		r.lose(p, "definitions nest too deep: the line is left out")
		return
	}
	if name, value, ok := definition(text); ok && depth > 0 { // in the lines of another
		r.defs[name] = []string{r.inline(value, p)}
		return
	}
	if strings.HasPrefix(text, "~") {
		r.repeat(p, text, skip, depth)
		return
	}
	before, name, after, ok := variable(text)
	if !ok {
		r.emit(p, text, skip)
		return
	}
	body, known := r.value(name, p)
	if !known { // kept as it is: whoever reads the word says so
		body = []string{"\x00" + name + "\x00"}
	}
	if len(body) == 1 {
		r.expand(p, strings.TrimSpace(decomment(before+body[0]+after)), skip, depth+depthOf(known))
		return
	}
	r.expand(p, strings.TrimSpace(before+body[0]), skip, depth+1)
	for _, l := range body[1 : len(body)-1] {
		r.expand(p, l, skip, depth+1)
	}
	r.expand(p, strings.TrimSpace(body[len(body)-1]+after), skip, depth+1)
}

func depthOf(known bool) int {
	if known {
		return 1
	}
	return 0
}

// variable finds the first ${NAME}, or $NAME if a word ends with it: elsewhere, as
// in an expression, a dollar is a dollar.
func variable(text string) (before, name, after string, ok bool) {
	for i := range len(text) {
		if text[i] != '$' || i+1 == len(text) {
			continue
		}
		rest := text[i+1:]
		if strings.HasPrefix(rest, "{") {
			n, a, closed := strings.Cut(rest[1:], "}")
			if closed && isDefinitionName(n) {
				return text[:i], n, a, true
			}
			continue
		}
		n := 0
		for n < len(rest) && isDefinitionName(rest[:n+1]) {
			n++
		}
		if n > 0 && (n == len(rest) || strings.IndexByte(" \t,)", rest[n]) >= 0) {
			return text[:i], rest[:n], rest[n:], true
		}
	}
	return "", "", "", false
}

func (r *lineReader) value(name string, p place) ([]string, bool) {
	if v, ok := r.defs[name]; ok {
		return v, true
	}
	switch name {
	case "_HASH":
		return []string{"#"}, true
	case "_BANG":
		return []string{"!"}, true
	case "_PWD":
		dir, err := filepath.Abs(filepath.Dir(p.file))
		return []string{dir}, err == nil
	case "_INSTANCE":
		return []string{r.opt.ConfigID}, true
	}
	return nil, false
}

// repeat carries out ~SEQ(NAME, [FIRST, [STEP,]] LAST), ~SEQx, which writes
// hexadecimal numbers, and ~LST(NAME, VALUE...),
// with the definition NAME for each line.
func (r *lineReader) repeat(p place, text, skip string, depth int) {
	head, rest, ok := strings.Cut(text, ")")
	kind, list, ok2 := strings.Cut(head, "(")
	args := strings.Split(list, ",")
	for i := range args {
		args[i] = strings.TrimSpace(r.inline(args[i], p))
	}
	if !ok || !ok2 || len(args) < 2 || !isDefinitionName(args[0]) || strings.Contains(list, "{") && !strings.Contains(list, "${") {
		r.lose(p, "not understood: %s", clip(text))
		return
	}
	values := args[1:]
	switch kind {
	case "~SEQ":
		values = sequence(args[1:], 10)
	case "~SEQx":
		values = sequence(args[1:], 16)
	case "~LST":
	default:
		values = nil
	}
	if len(values) == 0 || len(values) > maxExpanded {
		r.lose(p, "not understood: %s", clip(text))
		return
	}
	old, had := r.defs[args[0]]
	for _, v := range values {
		r.defs[args[0]] = []string{v}
		r.expand(p, strings.TrimSpace(rest), skip, depth+1)
	}
	if delete(r.defs, args[0]); had {
		r.defs[args[0]] = old
	}
}

// inline is a word with its definitions, which are one line each.
func (r *lineReader) inline(s string, p place) string {
	for range maxNested {
		before, name, after, ok := variable(s)
		if !ok {
			break
		}
		v, known := r.value(name, p)
		if !known || len(v) != 1 || len(s) > maxKaLine {
			break
		}
		s = before + v[0] + after
	}
	return s
}

// sequence counts from FIRST, 1 if not given, by STEP to LAST, in numbers of base.
func sequence(args []string, base int) (out []string) {
	n := []int64{1, 1, 0}
	var err error
	at := map[int][]int{1: {2}, 2: {0, 2}, 3: {0, 1, 2}}[len(args)]
	if at == nil {
		return nil
	}
	for i, a := range args {
		digits, hex := strings.CutPrefix(a, "0x")
		from := 10
		if hex {
			from = 16
		}
		if n[at[i]], err = strconv.ParseInt(digits, from, 32); err != nil {
			return nil
		}
	}
	first, step, last := n[0], n[1], n[2]
	if len(args) < 3 && last < first {
		step = -1
	}
	if step == 0 || (last-first)/step < 0 || (last-first)/step > maxExpanded {
		return nil
	}
	for i := first; step > 0 && i <= last || step < 0 && i >= last; i += step {
		out = append(out, strconv.FormatInt(i, base))
	}
	return out
}

// emit takes a line that needs no more expanding.
func (r *lineReader) emit(p place, text, skip string) {
	if len(r.out) >= maxExpanded {
		r.full = true
		r.lose(p, "the definitions make more than %d lines: the rest is left out", maxExpanded)
		return
	}
	if len(text) > maxKaLine {
		r.lose(p, "a line of %d bytes: left out", len(text))
		return
	}
	if word, rest, _ := strings.Cut(text, " "); strings.HasPrefix(word, "include") && skip == "" && set("include includer includem includew includeb includea")[word] {
		r.include(p, strings.Trim(strings.TrimSpace(rest), `"'`))
		return
	}
	r.out = append(r.out, kaLine{p, text, skip})
}

// include reads the files that a pattern names, from the folder of the file.
func (r *lineReader) include(p place, pattern string) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(p.file), pattern)
	}
	if r.opt.Read == nil || r.opt.Glob == nil || r.depth >= maxNested {
		r.lose(p, "include: %s is not read", clip(pattern))
		return
	}
	files, err := r.opt.Glob(pattern)
	if err != nil || len(files) == 0 {
		r.lose(p, "include: no file %s", clip(pattern))
		return
	}
	r.depth++
	for _, f := range files {
		src, err := r.opt.Read(f)
		if err != nil {
			r.lose(p, "include: %v", err)
			continue
		}
		r.file(f, string(src))
	}
	r.depth--
}

// decomment cuts a ! or # that is not in quotes, and all behind it.
func decomment(s string) string {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			if strings.IndexByte(s[i+1:], c) >= 0 { // else an apostrophe
				quote = c
			}
		case c == '#' || c == '!':
			return s[:i]
		}
	}
	return s
}

// undefined shows a word as it was written, and tells whether a definition was
// missing.
func undefined(word string) (string, bool) {
	parts := strings.Split(word, "\x00")
	if len(parts) < 3 {
		return word, false
	}
	for i := 1; i < len(parts); i += 2 {
		parts[i] = fmt.Sprintf("${%s}", parts[i])
	}
	return strings.Join(parts, ""), true
}
