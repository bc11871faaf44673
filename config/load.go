package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Options say where a configuration gets what is not in its file. The zero value
// asks the machine.
type Options struct {
	// Getenv looks up a variable of the environment; nil: os.LookupEnv.
	Getenv func(name string) (string, bool)
	// NoSecrets leaves password files unread and variables as they are: for
	// checking a file where it is not going to run.
	NoSecrets bool
}

// Load reads and checks a file and those that it includes. The error is either
// an [Errors] with all problems or says why the file cannot be read; then there
// is no Config. It reads regular files only and does not wait for anything.
func Load(path string, opt Options) (*Config, error) {
	opt.defaults()
	src, mode, p := readFile(path, MaxFile)
	if p != nil {
		return nil, Errors{*p}
	}
	return load(path, src, mode, opt)
}

// Parse is Load of text that is in memory already; file is its name in messages
// and what included files are relative to.
func Parse(file string, src []byte, opt Options) (*Config, error) {
	opt.defaults()
	return load(file, src, 0, opt)
}

func (o *Options) defaults() {
	switch {
	case o.NoSecrets:
		o.Getenv = nil
	case o.Getenv == nil:
		o.Getenv = os.LookupEnv
	}
}

func load(path string, src []byte, mode os.FileMode, opt Options) (*Config, error) {
	r := &reader{file: path, opt: &opt, mode: mode}
	c := Default()
	c.addFile(path, src)
	r.writable()
	if t := r.parse(src); t != nil {
		r.daemon(t, c)
		for _, f := range r.included(t, c) {
			r.include(f, c)
		}
	}
	r.file = path
	r.finish(c)
	if len(r.problems) > 0 {
		r.sort(c.Files)
		return nil, r.problems
	}
	c.Warnings = r.warnings
	return c, nil
}

// sort puts the problems in the order of the files and their lines.
func (r *reader) sort(files []string) {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		if d := slices.Index(files, a.File) - slices.Index(files, b.File); d != 0 {
			return d
		}
		return a.Line - b.Line
	})
}

// parse checks what the text is made of before the library sees it.
func (r *reader) parse(src []byte) *table {
	text := strings.TrimPrefix(string(src), "\ufeff")
	if strings.TrimSpace(text) == "" {
		r.problem(0, "a file of comments alone is taken for one without services", "the file is empty")
		return nil
	}
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		r.problem(1, "save the file as UTF-8", "the file is UTF-16")
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		switch {
		case len(line) > maxLine:
			r.problem(n, "", "a line of %d bytes (at most %d)", len(line), maxLine)
			return nil
		case strings.IndexByte(line, 0) >= 0:
			r.problem(n, "was the file cut off by a crash, or saved as UTF-16?", "a zero byte")
			return nil
		case !utf8.ValidString(line):
			r.problem(n, "save the file as UTF-8", "not UTF-8")
			return nil
		}
	}
	t, p := parse(r.file, text)
	if p != nil {
		r.problems = append(r.problems, *p)
	}
	return t
}

// blocks are the tables of a file beside its own keys.
var blocks = []string{"check", "alert", "timeouts", "sync", "virtual"}

// daemon reads the main file.
func (r *reader) daemon(t *table, c *Config) {
	keys := append(slices.Clone(daemonKeys), lift(policyKeys, func(c *Config) *Policy { return &c.Policy })...)
	fill(r, "", keys, t, c, blocks...)
	c.Lines = make(map[string]int)
	for i := range keys {
		if n, ok := t.at[keys[i].name]; ok {
			c.Lines[keys[i].name] = n.line
		}
	}
	block(r, t, "check", func(t *table) { fill(r, "[check]", timingKeys, t, &c.Check) })
	block(r, t, "alert", func(t *table) { fill(r, "[alert]", alertKeys, t, &c.Alert); r.alert(t, c) })
	block(r, t, "timeouts", func(t *table) { fill(r, "[timeouts]", timeoutKeys, t, &c.Timeouts); r.timeouts(t, c) })
	block(r, t, "sync", func(t *table) { r.sync(t, c) })
	r.virtuals(t, c)
}

// block calls f with the table of that name, if there is one.
func block(r *reader, t *table, name string, f func(*table)) {
	n, ok := t.at[name]
	if !ok {
		return
	}
	if sub, ok := typed[*table](r, n, name, "a table, ["+name+"]"); ok {
		f(sub)
	}
}

func (r *reader) virtuals(t *table, c *Config) {
	n, ok := t.at["virtual"]
	if !ok {
		return
	}
	list, ok := n.v.([]node)
	if !ok {
		r.problem(n.line, "write [[virtual]], in two brackets", "virtual: want an array of tables, found %s", kind(n.v))
		return
	}
	c.Virtuals = slices.Grow(c.Virtuals, len(list))
	for _, e := range list {
		if vt, ok := typed[*table](r, e, "virtual", "a table"); ok {
			c.Virtuals = append(c.Virtuals, *r.virtual(vt, c))
		}
	}
}

// included are the files that the patterns of include match, in order.
func (r *reader) included(t *table, c *Config) (out []string) {
	line := t.at["include"].line
	for _, p := range c.Include {
		if !filepath.IsAbs(p) {
			p = filepath.Join(filepath.Dir(r.file), p)
		}
		files, err := filepath.Glob(p)
		if err != nil || len(files) == 0 && !strings.ContainsAny(p, `*?[\`) {
			r.problem(line, "a pattern with * may match nothing; a name must exist", "include: no file %s", quote(p))
		}
		for _, f := range files { // Glob sorts
			if !slices.Contains(out, f) && f != r.file {
				out = append(out, f)
			}
		}
	}
	if len(out) > maxFiles {
		r.problem(line, "", "include: %d files are too many (at most %d)", len(out), maxFiles)
		return nil
	}
	return out
}

// include reads a further file, which may hold services only.
func (r *reader) include(path string, c *Config) {
	r.file = path
	src, mode, p := readFile(path, MaxFile)
	c.addFile(path, src)
	if p != nil {
		r.problems = append(r.problems, *p)
		return
	}
	r.mode = mode
	r.writable()
	t := r.parse(src)
	if t == nil {
		return
	}
	for _, name := range t.keys() {
		if name != "virtual" {
			r.problem(t.at[name].line, "an included file holds [[virtual]] only; the rest stands in the main file", "key %s in an included file", quote(name))
		}
	}
	r.virtuals(t, c)
}
