package ipvsadm_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestCorpus: rules and command lines that people have written down are restored,
// or it is said line by line what is refused; what is not understood changes
// nothing. The files are real; the words of their comments were taken out.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.conf")
	if err != nil || len(files) != 60 {
		t.Fatal(len(files), err)
	}
	refused := regexp.MustCompile(`^ipvsadm: stdin:\d+: `)
	var sum strings.Builder
	for _, f := range files {
		rules, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		k := fakeKernel()
		before, err := ipvstest.Text(k)
		if err != nil {
			t.Fatal(err)
		}
		a := run(k, "/sbin/ipvsadm", string(rules), "-R")
		after, err := ipvstest.Text(k)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(f)
		if a.Exit == 0 {
			fmt.Fprintf(&sum, "%s: restored, %d lines of table\n", name, strings.Count(after, "\n"))
			continue
		}
		var lines []string
		for line := range strings.Lines(a.Stderr) {
			if line = strings.TrimSuffix(line, "\n"); refused.MatchString(line) {
				lines = append(lines, strings.TrimPrefix(line, "ipvsadm: stdin:"))
			} else if !strings.HasPrefix(line, "ipvsadm: hint: ") && line != "ipvsadm: stdin: nothing was changed" {
				t.Errorf("%s: %s", name, line)
			}
		}
		if len(lines) == 0 || a.Exit == 2 && before != after { // 2: bad rules; the kernel's own refusals concern their lines only
			t.Errorf("%s: status %d, the table was changed: %v\n%s", name, a.Exit, before != after, a.Stderr)
			continue
		}
		fmt.Fprintf(&sum, "%s: status %d, %d lines are refused, the first: %s\n", name, a.Exit, len(lines), lines[0])
	}
	const golden = "testdata/corpus.golden"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(golden, []byte(sum.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), sum.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
