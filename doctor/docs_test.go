package doctor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumented: the table of docs/doctor.md has every rule and nothing else,
// in the rules' order.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, have []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| [DR]").FindAllStringSubmatch(string(b), -1) {
		documented = append(documented, m[1])
	}
	for _, r := range rules() {
		have = append(have, r.id)
	}
	slices.Sort(documented)
	slices.Sort(have)
	if diff := cmp.Diff(have, documented); diff != "" {
		t.Errorf("findings in docs/doctor.md (-rules +documented):\n%s", diff)
	}
}

// TestEveryRuleHasATest: each finding is wanted by a test, in the lab or on
// facts.
func TestEveryRuleHasATest(t *testing.T) {
	var text strings.Builder
	for _, name := range []string{"rules_test.go", "kernel_dr_test.go", "kernel_nat_test.go", "kernel_tun_test.go", "kernel_ipv6_test.go", "kernel_table_test.go",
		"kernel_fullnat_test.go", "kernel_large_test.go", "kernel_size_test.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	for _, r := range rules() {
		if !strings.Contains(text.String(), `"`+r.id+`"`) {
			t.Errorf("%s: no test wants it", r.id)
		}
	}
}

// TestSymptoms: causes and symptoms are rules.
func TestSymptoms(t *testing.T) {
	known := map[string]bool{}
	for _, r := range rules() {
		if known[r.id] {
			t.Errorf("%s: twice", r.id)
		}
		known[r.id] = true
	}
	for symptom, of := range symptomOf {
		for _, id := range append(of, symptom) {
			if !known[id] {
				t.Errorf("%s: no such rule", id)
			}
		}
	}
}
