package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
)

const reference = "../examples/config/goipvs.toml"

var elsewhere = config.Options{NoSecrets: true}

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.toml", []byte(text), elsewhere)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// shown is a line that shows a default: # key = value # what it is.
var shown = regexp.MustCompile(`^(\s*)# (([a-z_]+) = .*)$`)

// The reference loads, and what it shows as a default is one: taking the line
// out of its comment changes nothing.
func TestReferenceShowsDefaults(t *testing.T) {
	b, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, string(b))
	lines := strings.Split(string(b), "\n")
	n := 0
	for i, line := range lines {
		m := shown.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n++
		with := slices.Clone(lines)
		with[i] = m[1] + m[2]
		c, err := config.Parse(reference, []byte(strings.Join(with, "\n")), elsewhere)
		if err != nil {
			t.Errorf("%s: %v", m[3], err)
			continue
		}
		if diff := cmp.Diff(want, c, same); diff != "" {
			t.Errorf("line %d: this is not the default of %s (-default +shown):\n%s", i+1, m[3], diff)
		}
	}
	if n < 60 {
		t.Errorf("only %d defaults are shown", n)
	}
}

// The reference names every key there is.
func TestReferenceIsComplete(t *testing.T) {
	b, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range config.Reference() {
		for _, k := range table.Keys {
			if !regexp.MustCompile(`(?m)^[ #]*(\w+, )*` + k.Name + `( =|:|,)|\{.*\b` + k.Name + ` =`).Match(b) {
				t.Errorf("%s: key %s is not in %s", table.Name, k.Name, reference)
			}
		}
	}
}
