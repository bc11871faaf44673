package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
