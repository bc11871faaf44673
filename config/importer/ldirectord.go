package importer

import "strings"

// Ldirectord converts a ldirectord.cf; file is its name in messages.
func Ldirectord(file string, src []byte, opt Options) Result {
	l := &ldirectord{builder: newBuilder(opt), file: file}
	l.read(string(src))
	l.globals()
	for _, v := range l.virtuals {
		l.virtual(v)
	}
	return l.result()
}

type ldirectord struct {
	*builder
	file     string
	global   section
	virtuals []section
}

// section is a virtual= block, or the global directives. A directive that is
// there twice counts as it is there last, as in ldirectord.
type section struct {
	head  directive
	reals []directive
	last  map[string]directive
}

// directive is a line: name=value without comment and blanks around it.
type directive struct {
	place
	name, value string
}

func (d directive) known() bool { return d.name != "" }

func (s *section) get(name string) directive { return s.last[name] }

// blockOnly are directives that stand in virtual= blocks only. Where the block
// has lost its indentation they still belong to it.
var blockOnly = set("real real6 checktype service checkcommand checkport request receive httpmethod virtualhost login passwd database " +
	"secret load scheduler persistent netmask schedflags protocol ops monitorfile servicename comment")

// globalOnly are those that no block may have.
var globalOnly = set("autoreload callback logfile emailalertfrom execute supervised fork readdquiescent maintenancedir")

// either are those of both.
var either = set("checktimeout negotiatetimeout checkinterval checkcount failurecount fallback fallback6 fallbackcommand quiescent cleanstop emailalert emailalertfreq " +
	"emailalertstatus smtp")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// read sorts the lines into sections. ldirectord is strict about blanks: a block
// needs four of them, and an empty line ends it. Here a line belongs to the
// block above it if it is indented and its name allows that.
func (l *ldirectord) read(src string) {
	l.global.last = map[string]directive{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(src, "\ufeff")) {
		n++
		text := trimBlank(stripComment(line))
		if text == "" {
			continue
		}
		d := split(text)
		d.place = place{l.file, n}
		indented := line[0] == ' ' || line[0] == '\t'
		l.sort(d, indented, text)
	}
}

func (l *ldirectord) sort(d directive, indented bool, text string) {
	inBlock := len(l.virtuals) > 0
	switch {
	case d.name == "virtual" || d.name == "virtual6":
		l.virtuals = append(l.virtuals, section{head: d, last: map[string]directive{}})
	case (d.name == "real" || d.name == "real6") && inBlock:
		s := &l.virtuals[len(l.virtuals)-1]
		s.reals = append(s.reals, d)
	case blockOnly[d.name] && inBlock, either[d.name] && inBlock && indented:
		l.virtuals[len(l.virtuals)-1].last[d.name] = d
	case globalOnly[d.name], either[d.name]:
		l.global.last[d.name] = d
	case blockOnly[d.name]:
		l.lose(d.place, "%s outside of a virtual section", d.name)
	default:
		l.lose(d.place, "unknown line: %s", clip(text))
	}
}

// split cuts name = value; quotes around the whole value fall off.
func split(text string) directive {
	name, value, ok := strings.Cut(text, "=")
	name = trimBlank(name)
	if !ok || strings.ContainsAny(name, " \t\"'") {
		if set("supervised")[text] {
			return directive{name: text, value: "yes"}
		}
		return directive{}
	}
	return directive{name: name, value: unquote(trimBlank(value))}
}

// trimBlank also takes the blanks that editors and web pages bring along.
func trimBlank(s string) string {
	return strings.Trim(s, " \t\r\n\u00a0\u3000\ufeff")
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] && strings.Count(s, s[:1]) == 2 {
		return s[1 : len(s)-1]
	}
	return s
}

// stripComment cuts a # that is not in double quotes, and all behind it.
func stripComment(line string) string {
	quoted := false
	for i := range len(line) {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '#' && !quoted:
			return line[:i]
		case line[i] == '#' && strings.Count(line[i:], `"`)%2 == 0: // the quote never ends
			return line[:i]
		}
	}
	return line
}

func clip(s string) string {
	s = strings.ToValidUTF8(strings.Map(printable, s), "?")
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}

// yes reads a yes/no value, or def when there is none.
func (l *ldirectord) yes(d directive, def bool) bool {
	switch strings.ToLower(d.value) {
	case "yes":
		return true
	case "no":
		return false
	}
	if d.known() {
		l.lose(d.place, "%s must be yes or no, not %s", d.name, clip(d.value))
	}
	return def
}

// number reads the digits of a value, as ldirectord does: 10s is 10.
func (l *ldirectord) number(d directive, def int) int {
	if !d.known() {
		return def
	}
	runs := strings.FieldsFunc(d.value, func(c rune) bool { return c < '0' || c > '9' })
	if len(runs) == 0 || len(runs[0]) > 9 {
		l.lose(d.place, "%s: %s is no number", d.name, clip(d.value))
		return def
	}
	n := 0
	for _, c := range runs[0] {
		n = n*10 + int(c-'0')
	}
	return n
}
