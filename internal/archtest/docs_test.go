package archtest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNamedTests: the tests that the documentation gives as proof are there. With
// * or ... behind it, or after -run, a name stands for several.
func TestNamedTests(t *testing.T) {
	root := os.DirFS("../..")
	there := map[string]bool{}
	err := fs.WalkDir(root, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(-run \S?)?\b(Test[A-Z]\w*)\b(\*|\.\.\.)?`).FindAllSubmatch(text, -1) {
			if named++; m[1] == nil && m[3] == nil && !there[string(m[2])] {
				t.Errorf("%s names %s, which there is not", filepath.Base(page), m[2])
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d names were found", named)
	}
}

// TestArchitecture: the table of docs/architecture.md has every package, in a row
// of its own or in that of a folder above it, and what they may import.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := func(cell string) (names []string) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			names = append(names, m[1])
		}
		return names
	}
	rows := map[string][]string{} // by package: the first names of its row
	says := map[string][]string{} // by the first of them: what it may import
	for line := range strings.Lines(string(text)) {
		if c := strings.Split(line, "|"); len(c) == 5 && strings.HasPrefix(line, "| `") {
			names := quoted(c[1])
			for _, n := range names {
				rows[n] = names
			}
			says[names[0]] = quoted(c[3])
		}
	}
	of := map[string][]string{}
	for pkg := range allowed {
		folder := pkg
		for rows[folder] == nil && folder != "." {
			folder = filepath.Dir(folder)
		}
		if folder == "." {
			t.Errorf("%s has no row", pkg)
			continue
		}
		first := rows[folder][0]
		of[first] = append(of[first], pkg)
	}
	for first, said := range says {
		may := map[string]bool{}
		for _, pkg := range of[first] {
			for _, imp := range allowed[pkg] {
				may[imp] = !slices.Contains(of[first], imp)
			}
		}
		maps.DeleteFunc(may, func(_ string, outside bool) bool { return !outside })
		if want := slices.Sorted(maps.Keys(may)); !slices.Equal(said, want) {
			t.Errorf("the row of %s says that it imports %q, it may %q", first, said, want)
		}
	}
}
