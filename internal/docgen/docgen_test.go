package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/config"
)

// TestCommitted: what is committed is what the tables say now.
func TestCommitted(t *testing.T) {
	for path, want := range written() {
		got, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is stale: run make docs, and commit it (-want +got):\n%s", path, diff)
		}
	}
}

// TestEverythingIsIn: no option, word, verb or topic is forgotten in any of the
// files.
func TestEverythingIsIn(t *testing.T) {
	commands, others := options()
	for path, text := range files() {
		text = strings.ReplaceAll(text, `\-`, "-")
		for _, o := range append(commands, others...) {
			names := []string{o.Long}
			if c := o.Short(); c != 0 {
				names = append(names, "-"+string(c))
				if strings.HasSuffix(path, "fish") {
					names[1] = "-s " + string(c)
				}
			}
			if o.Long == "sort" && !strings.HasSuffix(path, ".8") {
				continue // does nothing: nobody needs it completed
			}
			for _, n := range append(names, strings.Fields(o.Words)...) {
				if !strings.Contains(text, n) {
					t.Errorf("%s: %s is missing", path, n)
				}
			}
		}
		for _, n := range helpWords() {
			if !strings.Contains(strings.ToLower(text), n) {
				t.Errorf("%s: %s is missing", path, n)
			}
		}
	}
}

// TestQuotes: a description with a quote in it would swallow the rest of a
// completion script.
func TestQuotes(t *testing.T) {
	for path, text := range files() {
		if strings.HasSuffix(path, ".8") {
			continue
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if n := strings.Count(strings.ReplaceAll(line, `\'`, ""), "'"); n%2 != 0 {
				t.Errorf("%s: a quote is open: %s", path, line)
			}
		}
	}
}

// TestManPage: only requests that man(7) has, sections in their order, what is
// verbatim fits a terminal beside the margin.
func TestManPage(t *testing.T) {
	request := regexp.MustCompile(`^\.(\\"|TH|SH|SS|TP|PP|EX|EE|B|I|BR|RB|RI|br|nh)( .*)?$`)
	var sections []string
	verbatim := false
	for line := range strings.Lines(manPage()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ".") && !request.MatchString(line) {
			t.Errorf("%q is no request of man(7)", line)
		}
		if strings.HasPrefix(line, "'") || line == "" && !verbatim || len(line) > 80 && !verbatim && !strings.HasPrefix(line, ".") {
			t.Errorf("%q: a request by mistake, an empty line, or too long", line)
		}
		if s, ok := strings.CutPrefix(line, ".SH "); ok {
			sections = append(sections, s)
		}
		switch {
		case line == ".EX", line == ".EE":
			if verbatim == (line == ".EX") {
				t.Errorf("%s at the wrong place", line)
			}
			verbatim = line == ".EX"
		case verbatim && len(plain(line)) > verbs.TableWidth+1:
			t.Errorf("%q is too long", line)
		}
		if strings.Contains(plain(line), `\`) {
			t.Errorf("%q: an escape nobody knows", line)
		}
	}
	want := []string{"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS AND OPTIONS", "VERBS", "SCHEDULERS", "FORWARDING", "FULLNAT", "PERSISTENCE", "RESTORE",
		"EXAMPLES", "EXIT STATUS", "FILES", "NOTES", "SEE ALSO"}
	if diff := cmp.Diff(want, sections); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
}

// plain is a line of the page as it is read.
func plain(line string) string {
	return strings.NewReplacer(`.\"`, "", `\-`, "-", `\(aq`, "'", `\fB`, "", `\fI`, "", `\fR`, "", `\&`, "", `\e`, "|").Replace(line)
}

// TestConfigManPage: every key and every type of check has its paragraph, and
// there are no requests but those of man(7).
func TestConfigManPage(t *testing.T) {
	request := regexp.MustCompile(`^\.(\\"|TH|SH|TP|PP|B|I|BR|nh|nf|fi)( .*)?$`)
	text := configMan()
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, ".") && !request.MatchString(line) || strings.HasPrefix(line, "'") {
			t.Errorf("%q is a request", line)
		}
	}
	for _, table := range config.Reference() {
		for _, k := range table.Keys {
			if !strings.Contains(text, ".TP\n\\fB"+k.Name+"\\fR") {
				t.Errorf("%s %s is missing", table.Name, k.Name)
			}
		}
	}
	for _, c := range config.CheckTypes() {
		if !strings.Contains(text, ".TP\n\\fB"+c.Name+"\\fR\n") {
			t.Errorf("type %s is missing", c.Name)
		}
	}
}
