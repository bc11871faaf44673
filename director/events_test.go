package director

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/goipvs/goipvs/config"
)

// TestEventsAreDocumented: docs/events.md names every event with its level and
// text, and no others; so do those words of the daemon's own logs.
func TestEventsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	rows := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(text, -1) {
		rows[m[1]] = true
	}
	for _, k := range Kinds() {
		row := fmt.Sprintf("| `%s` | %s | %s |", k.Name, strings.ToLower(k.Level.String()), k.Brief)
		if !strings.Contains(text, row) {
			t.Errorf("docs/events.md lacks %s", row)
		}
		delete(rows, k.Name)
	}
	for _, name := range logged(t) {
		if !rows[name] && !known(name) {
			t.Errorf("docs/events.md lacks `%s`", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("docs/events.md has `%s`, which nobody logs", name)
	}
}

// TestEventsAreLogged: each kind of event is one that somebody emits, under its
// variable or its name.
func TestEventsAreLogged(t *testing.T) {
	kinds, err := os.ReadFile("kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	text := sources(t)
	used := make(map[string]int)
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
		used[word]++
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) += kind\("([a-z0-9_]+)"`).FindAllStringSubmatch(string(kinds), -1) {
		if used[m[1]] < 2 && !strings.Contains(text, `"event", "`+m[2]+`"`) {
			t.Errorf("nobody emits %s", m[2]) // its variable is made, and no more
		}
	}
}

// logged are the names of events in the sources that are not of a kind.
func logged(t *testing.T) (names []string) {
	for _, m := range regexp.MustCompile(`"event", "([a-z0-9_]+)"`).FindAllStringSubmatch(sources(t), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// sources are the texts of the daemon's parts.
func sources(t *testing.T) string {
	var all strings.Builder
	for _, dir := range []string{".", "alert", "control", "daemon", "web"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
				continue
			}
			b, err := os.ReadFile(dir + "/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}

func known(name string) bool {
	for _, k := range Kinds() {
		if k.Name == name {
			return true
		}
	}
	return false
}

// TestAlertWords: each word that [alert] on may hold has an event.
func TestAlertWords(t *testing.T) {
	have := make(map[string]bool)
	for _, k := range Kinds() {
		have[k.Alert] = true
	}
	for _, w := range config.Events() {
		if !have[w] {
			t.Errorf("no event goes by %q", w)
		}
		delete(have, w)
	}
	delete(have, "")
	if len(have) > 0 {
		t.Errorf("the file knows nothing of %v", have)
	}
}
