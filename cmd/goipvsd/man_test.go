package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestManPage: the manual page has every option, verb, signal and exit status of
// the help.
func TestManPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/man/goipvsd.8")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(b), `\-`, "-")
	words := regexp.MustCompile(`(?m)\B--?[a-z]+\b|^[a-z-]+ {2,}|\b(?:HUP|TERM|USR1)\b|\b\d+ [a-z]|\b\d+\b`).FindAllString(help, -1)
	if len(words) < 20 {
		t.Fatalf("only %q in the help", words)
	}
	for _, w := range words {
		w = strings.Fields(w)[0]
		if !regexp.MustCompile(`(?m)^\.(B|BR|BI)\b.*(^|[ "])` + regexp.QuoteMeta(w) + `\b`).MatchString(page) {
			t.Errorf("the page has no %s", w)
		}
	}
}

// TestFailuresHaveTests: the tests that docs/daemon.md names for the failures of
// others are there.
func TestFailuresHaveTests(t *testing.T) {
	b, err := os.ReadFile("../../docs/daemon.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	err = fs.WalkDir(os.DirFS("../.."), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(filepath.Join("../..", path))
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			there[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(b), -1)
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !there[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
}
