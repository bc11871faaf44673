package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoModule says that no module and no alias has the name.
var ErrNoModule = errors.New("no such module")

// An Index is what depmod wrote: which file is which module, what it needs,
// and other names for it. Formats: modules.dep(5), modprobe.d(5). It is not
// changed once it is made, so any number of goroutines may use it.
type Index struct {
	deps    map[string][]string // module: its file, then the files it needs, in depmod's order
	aliases [][2]string         // pattern, module
	soft    map[string][]string // module: modules to load before it, if they exist
	builtin map[string]bool     // modules that are part of the kernel
}

// ReadIndex reads the index in dir. Only modules.dep must exist.
func ReadIndex(dir string) (*Index, error) {
	var text [4]string
	for i, name := range []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && (i == 0 || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		text[i] = string(b)
	}
	return ParseIndex(text[0], text[1], text[2], text[3]), nil
}

// ParseIndex reads the index from the text of its four files. Lines it does
// not understand are not for us.
func ParseIndex(dep, alias, softdep, builtin string) *Index {
	ix := &Index{deps: map[string][]string{}, soft: map[string][]string{}, builtin: map[string]bool{}}
	for line := range strings.Lines(dep) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && file != "" {
			ix.deps[ModuleName(file)] = append([]string{file}, strings.Fields(needs)...)
		}
	}
	for line := range strings.Lines(alias) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
			ix.aliases = append(ix.aliases, [2]string{underscored(f[1]), underscored(f[2])})
		}
	}
	for line := range strings.Lines(softdep) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "softdep" {
			ix.soft[underscored(f[1])] = preModules(f[2:])
		}
	}
	for line := range strings.Lines(builtin) {
		ix.builtin[ModuleName(strings.TrimSpace(line))] = true
	}
	return ix
}

// preModules takes the words after "pre:" from "pre: a b post: c".
func preModules(words []string) (pre []string) {
	in := false
	for _, w := range words {
		switch {
		case strings.HasSuffix(w, ":"):
			in = w == "pre:"
		case in:
			pre = append(pre, underscored(w))
		}
	}
	return pre
}

// Resolve lists the files to insert for a module or alias, in order, relative
// to the folder of the index; none for a part of the kernel. An alias may stand
// for several modules; the kernel asks for all of them. A name that nothing
// answers to is ErrNoModule.
func (ix *Index) Resolve(name string) ([]string, error) {
	name = underscored(name)
	if files, ok := ix.files(name); ok {
		return files, nil
	}
	var all []string
	found := false
	for _, a := range ix.aliases {
		if match, _ := path.Match(a[0], name); !match {
			continue
		}
		if files, ok := ix.files(a[1]); ok {
			all, found = append(all, files...), true
		}
	}
	if !found {
		return nil, fmt.Errorf("%q: %w", name, ErrNoModule)
	}
	return all, nil
}

// files lists what the module needs and then its own file. modules.dep has the
// whole closure, farthest last.
func (ix *Index) files(module string) ([]string, bool) {
	d, ok := ix.deps[module]
	if !ok {
		return nil, ix.builtin[module]
	}
	var files []string
	for _, s := range ix.soft[module] {
		if sd, ok := ix.deps[s]; ok {
			files = append(files, backwards(sd)...)
		}
	}
	return append(files, backwards(d)...), true
}

func backwards(s []string) []string {
	r := make([]string, 0, len(s))
	for _, file := range slices.Backward(s) {
		r = append(r, file)
	}
	return r
}

// ModuleName is the name of the module in a file: kernel/net/ip-vs.ko.xz is
// ip_vs.
func ModuleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".")
	return underscored(base)
}

// underscored makes names comparable: - and _ are the same in module names.
func underscored(s string) string { return strings.ReplaceAll(s, "-", "_") }
