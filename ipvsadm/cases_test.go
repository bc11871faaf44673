package ipvsadm_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"github.com/goipvs/goipvs/ipvsadm"
)

const cases = "../testdata/ipvsadm"

// goldenCase is a command line with what ipvsadm 1.31 did.
type goldenCase struct {
	Name   string
	Setup  [][]string
	Argv   []string
	Prog   []string
	Stdin  string
	UID    int
	Exit   any // a status, or "signal:11"
	Stdout string
	Stderr string
	State  string
	After  []struct {
		Argv           []string
		Exit           any
		Stdout, Stderr string
	}
	Volatile []string
	Tags     []string
	Expect   string // same, refuse or better
	Want     map[string]json.RawMessage
}

func goldenCases(t *testing.T) (all []goldenCase) {
	t.Helper()
	f, err := os.Open(filepath.Join(cases, "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	for d.More() {
		var c goldenCase
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		t.Fatal("no cases")
	}
	return all
}

// kernel is a kernel for a case, with the interfaces of the machine on which the
// cases were recorded.
func fakeKernel() *ipvstest.Kernel {
	return ipvstest.New(ipvstest.Options{Interfaces: map[string]int{"lo": 65536, "dum0": 1500}})
}

func resolver() *ipvsadm.Resolver {
	return &ipvsadm.Resolver{Hosts: filepath.Join(cases, "etc/hosts"), Services: filepath.Join(cases, "etc/services")}
}

// answer is what a program did.
type answer struct {
	Exit           int
	Stdout, Stderr string
}

// run runs a command line on a kernel.
func run(k ipvsadm.Kernel, prog, stdin string, argv ...string) answer {
	var out, errs bytes.Buffer
	r := ipvsadm.Runner{
		Prog: prog, Version: "test", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Dial:  func() (ipvsadm.Kernel, error) { return k, nil },
		Names: resolver(),
		OpenConnections: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n")), nil
		},
	}
	return answer{r.Run(argv), out.String(), errs.String()}
}

// TestGoldenCases runs what was recorded with ipvsadm on the kernel in memory.
// Cases that need packets, or a kernel without IPVS, are in tests of their own.
func TestGoldenCases(t *testing.T) {
	for _, c := range goldenCases(t) {
		if slices.Contains(c.Tags, "traffic") || slices.Contains(c.Tags, "no-module") || c.UID != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { c.run(t, fakeKernel()) })
	}
}

func (c *goldenCase) run(t *testing.T, k ipvsadm.Kernel) {
	var rules strings.Builder
	for _, words := range c.Setup {
		rules.WriteString(strings.Join(words, " ") + "\n")
	}
	if a := run(k, "ipvsadm", "-C\n--set 900 120 300\n"+rules.String(), "-R"); a.Exit != 0 || a.Stdout+a.Stderr != "" {
		t.Fatalf("setup: %+v", a)
	}
	before := save(t, k)
	prog := "/sbin/ipvsadm"
	if len(c.Prog) > 0 {
		prog = c.Prog[0]
	}
	got := run(k, prog, c.Stdin, c.Argv...)
	switch c.Expect {
	case "refuse":
		if got.Exit != status(c.Exit) || got.Stdout != "" || got.Stderr == "" {
			t.Errorf("got %+v, want a message and exit %v", got, c.Exit)
		}
		if diff := cmp.Diff(before, save(t, k)); diff != "" {
			t.Errorf("refused, but the table changed (-before +after):\n%s", diff)
		}
	default:
		c.compare(t, k, got)
	}
}

// compare holds an answer against the recorded one, or against what the case
// says is better.
func (c *goldenCase) compare(t *testing.T, k ipvsadm.Kernel, got answer) {
	if !c.free(t, "exit") && got.Exit != status(c.better(t, "exit", c.Exit)) {
		t.Errorf("exit %d, want %v; stderr %q", got.Exit, c.better(t, "exit", c.Exit), got.Stderr)
	}
	if !c.free(t, "stdout") {
		want, _ := c.better(t, "stdout", c.Stdout).(string)
		if c.Want["sorted"] != nil {
			want, got.Stdout = sortedLines(want), sortedLines(got.Stdout)
		}
		if diff := cmp.Diff(want, got.Stdout); diff != "" && !sameRules(want, got.Stdout) {
			t.Errorf("stdout (-want +got):\n%s", diff)
		}
	}
	if !c.free(t, "state") {
		want, _ := c.better(t, "state", c.State).(string)
		state := save(t, k)
		if diff := cmp.Diff(want, state); diff != "" && !sameRules(want, state) {
			t.Errorf("state (-want +got):\n%s", diff)
		}
	}
	if c.Expect != "same" {
		return
	}
	for _, a := range c.After {
		got := run(k, "/sbin/ipvsadm", "", a.Argv...)
		got.Stderr = ""
		if diff := cmp.Diff(answer{Exit: status(a.Exit), Stdout: a.Stdout}, got); diff != "" {
			t.Errorf("then %q (-want +got):\n%s", a.Argv, diff)
		}
	}
}

// free reports whether a case leaves a field open.
func (c *goldenCase) free(t *testing.T, field string) bool {
	var free []string
	c.decode(t, "free", &free)
	return slices.Contains(free, field)
}

// better is what the case wants of a field in place of the recorded value.
func (c *goldenCase) better(t *testing.T, field string, recorded any) any {
	c.decode(t, field, &recorded)
	return recorded
}

func (c *goldenCase) decode(t *testing.T, field string, to any) {
	if c.Want[field] == nil {
		return
	}
	if err := json.Unmarshal(c.Want[field], to); err != nil {
		t.Fatal(err)
	}
}

func status(exit any) int {
	n, ok := exit.(float64)
	if !ok {
		return -1
	}
	return int(n)
}

func sortedLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sameRules reports whether ours are the recorded rules but for what ipvsadm
// gets wrong in saving: it loses thresholds and flag-3 of sh and mh, prints
// marks signed and sorts by overflowing differences.
func sameRules(recorded, ours string) bool {
	return strings.HasPrefix(ours, "-A ") &&
		sortedLines(mended(recorded)) == sortedLines(withoutThresholds(ours))
}

func mended(recorded string) string {
	var out []string
	for line := range strings.Lines(recorded) {
		words := strings.Fields(line)
		for i, w := range words {
			if n, err := strconv.ParseInt(w, 10, 32); err == nil && n < 0 && words[i-1] == "-f" {
				words[i] = strconv.FormatUint(uint64(uint32(n)), 10)
			}
			if w == "-b" && i == len(words)-1 {
				words[i] = "-b flag-3"
			}
		}
		out = append(out, strings.Join(words, " ")+"\n")
	}
	return strings.Join(out, "")
}

func withoutThresholds(rules string) string {
	var out []string
	for line := range strings.Lines(rules) {
		words := strings.Fields(line)
		for _, o := range []string{"-x", "-y"} {
			if i := slices.Index(words, o); i >= 0 {
				words = slices.Delete(words, i, i+2)
			}
		}
		out = append(out, strings.Join(words, " ")+"\n")
	}
	return strings.Join(out, "")
}

func save(t *testing.T, k ipvsadm.Kernel) string {
	t.Helper()
	var b strings.Builder
	if err := ipvsadm.Save(&b, k, ipvsadm.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var _ ipvsadm.Kernel = (*ipvstest.Kernel)(nil)
var _ ipvs.Kernel = ipvsadm.Kernel(nil)
