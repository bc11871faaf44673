package oracle

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record is a command line with what ipvsadm 1.31 did.
type record struct {
	Name     string
	Setup    [][]string
	Argv     []string
	Prog     []string
	Stdin    string
	UID      uint32
	Exit     any // a status, or "signal:11"
	Stdout   string
	State    string // by ipvsadm -Sn
	After    []step
	Volatile []string
	Tags     []string
	Expect   string // same, refuse or better
	Want     map[string]json.RawMessage
}

// step is a command that was run next.
type step struct {
	Argv   []string
	Exit   any
	Stdout string
}

// records are those that keep wants.
func records(t *testing.T, keep func(*record) bool) (list []*record) {
	t.Helper()
	f, err := os.Open("../../testdata/ipvsadm/cases.jsonl")
	must(t, err)
	defer f.Close()
	for d := json.NewDecoder(f); d.More(); {
		r := &record{}
		must(t, d.Decode(r))
		if keep(r) {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		t.Fatal("no such records")
	}
	return list
}

func (r *record) tagged(tag string) bool { return slices.Contains(r.Tags, tag) }

// setup is what was there before the command, as rules.
func (r *record) setup() string {
	rules := []string{"-C", "--set 900 120 300"}
	for _, words := range r.Setup {
		rules = append(rules, strings.Join(words, " "))
	}
	return strings.Join(rules, "\n") + "\n"
}

// judge holds an answer of ours, and the tables before and after it, against
// the record.
func (r *record) judge(t *testing.T, got answer, before, after string) {
	t.Helper()
	if r.Expect == "refuse" {
		if got.Exit != status(r.Exit) || got.Stdout != "" || got.Stderr == "" {
			t.Errorf("got %+v, want a message and exit %v", got, r.Exit)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("refused, but the table changed (-before +after):\n%s", diff)
		}
		return
	}
	if want := status(wanted(t, r, "exit", r.Exit)); !r.free(t, "exit") && got.Exit != want {
		t.Errorf("exit %d, want %d; stderr %q", got.Exit, want, got.Stderr)
	}
	if want := wanted(t, r, "stdout", r.Stdout); !r.free(t, "stdout") {
		if r.Want["sorted"] != nil {
			want, got.Stdout = sorted(want), sorted(got.Stdout)
		}
		if r.Expect == "same" { // it was recorded of a program that loses them
			got.Stdout = thresholds.ReplaceAllString(got.Stdout, "$1")
		}
		if diff := cmp.Diff(want, got.Stdout); diff != "" {
			t.Errorf("stdout (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(wanted(t, r, "state", r.State), after); diff != "" && !r.free(t, "state") {
		t.Errorf("the table, read by the real ipvsadm (-want +got):\n%s", diff)
	}
}

// thresholds are what goipvs saves and ipvsadm does not.
var thresholds = regexp.MustCompile(`(?m)^(-a .* -w \d+)(?: -[xy] \d+)+`)

// free reports whether a record leaves a field open.
func (r *record) free(t *testing.T, field string) bool {
	t.Helper()
	return slices.Contains(wanted(t, r, "free", []string(nil)), field)
}

// wanted is what a record wants of a field in place of what was recorded.
func wanted[T any](t *testing.T, r *record, field string, recorded T) T {
	t.Helper()
	if r.Want[field] != nil {
		var better T
		must(t, json.Unmarshal(r.Want[field], &better))
		return better
	}
	return recorded
}

// status is a recorded exit status; none is that of a signal.
func status(exit any) int {
	if n, ok := exit.(float64); ok {
		return int(n)
	}
	return -1
}

func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}
