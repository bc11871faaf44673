package fullnat_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Tests that the documentation names are there.
func TestDocumentedTests(t *testing.T) {
	text, err := os.ReadFile("../docs/fullnat.md")
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, pattern := range []string{"*_test.go", "*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code = append(code, b...)
		}
	}
	for _, m := range regexp.MustCompile(`\b(Test[A-Z]\w+)\b[^*]`).FindAllStringSubmatch(string(text), -1) { // TestKernel* is a pattern
		name := m[1]
		if !regexp.MustCompile(`func ` + name + `\(`).Match(code) {
			t.Errorf("docs/fullnat.md names %s, which there is not", name)
		}
	}
}
