package main

import (
	"os"
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
