package verbs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvsadm"
)

// help runs a command line that only explains: no kernel, no rights, status 0.
func help(t *testing.T, args ...string) string {
	t.Helper()
	var out, errw strings.Builder
	if status := Run(append([]string{"goipvs"}, args...), "test", strings.NewReader(""), &out, &errw); status != 0 || errw.Len() != 0 {
		t.Fatalf("%q: status %d, stderr %q", args, status, errw.String())
	}
	return out.String()
}

func TestHelpPages(t *testing.T) {
	contents := help(t, "help")
	names := []string{"schedulers", "forwarding", "fullnat", "persistence", "restore"}
	for _, v := range Verbs() {
		names = append(names, v.Name)
	}
	for _, name := range names {
		text := help(t, "help", name)
		if !strings.Contains(contents, "\n  "+name+" ") {
			t.Errorf("goipvs help does not list %s", name)
		}
		for line := range strings.Lines(text) {
			if len(line) > 80 || strings.HasSuffix(line, " \n") || strings.Contains(line, "\t") {
				t.Errorf("help %s: %q is too long, has a tab or ends in a blank", name, line)
			}
		}
	}
}

// TestHelpOfProgram: goipvs --help, which is not printed here, names what is.
func TestHelpOfProgram(t *testing.T) {
	var out strings.Builder
	(&ipvsadm.Runner{Prog: "goipvs", Stdout: &out}).Run([]string{"--help"})
	words := strings.Join(strings.Fields(out.String()), " ")
	for _, v := range Verbs() {
		if v.Name != "help" && !strings.Contains(words, "goipvs "+v.Name+strings.TrimRight(" "+v.Args, " ")+" "+v.Brief) {
			t.Errorf("goipvs --help lacks %s %s: %s", v.Name, v.Args, v.Brief)
		}
	}
	var topics []string
	for _, x := range Topics() {
		topics = append(topics, x.Name)
	}
	if want := "goipvs help [TOPIC|VERB] TOPIC: " + strings.Join(topics, ", ") + " "; !strings.Contains(words, want) {
		t.Errorf("goipvs --help lacks %q", want)
	}
}

// TestSchedulersTopic: one line for each scheduler that -s knows.
func TestSchedulersTopic(t *testing.T) {
	text := help(t, "help", "schedulers")
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) +\S.*; .+$`).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	want := words(t, "scheduler")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schedulers explained in one line (-want +got):\n%s", diff)
	}
}

func words(t *testing.T, option string) []string {
	t.Helper()
	for _, g := range ipvsadm.Manual() {
		for _, o := range g.Options {
			if o.Long == option {
				return strings.Fields(o.Words)
			}
		}
	}
	t.Fatalf("no option --%s", option)
	return nil
}

// TestTopicsParse: the options of goipvs that the pages speak of exist, and the
// commands to be typed are commands.
func TestTopicsParse(t *testing.T) {
	known := make(map[string]bool)
	for _, g := range ipvsadm.Manual() {
		for _, o := range g.Options {
			known["--"+o.Long], known["-"+string(o.Short())] = true, true
		}
	}
	for _, v := range Verbs() {
		for _, f := range v.Flags {
			known["--"+f.Name] = true
		}
	}
	option := regexp.MustCompile(`(?:^|[ (,])(--?[a-zA-Z0-9][a-z-]*)`)
	for _, topic := range Topics() {
		for line := range strings.SplitSeq(topic.Page(), "\n") {
			line, _, _ = strings.Cut(line, "#")
			if strings.HasPrefix(line, "    ") && !strings.HasPrefix(strings.TrimSpace(line), "goipvs ") && !strings.Contains(line, "   -") {
				continue // of other programs
			}
			for _, m := range option.FindAllStringSubmatch(line, -1) {
				if !known[m[1]] {
					t.Errorf("%s: %q: there is no option %s", topic.Name, line, m[1])
				}
			}
			if words := strings.Fields(line); len(words) > 1 && words[0] == "goipvs" && strings.HasPrefix(words[1], "-") && strings.HasPrefix(line, "    ") {
				before, _, _ := strings.Cut(strings.Join(words[1:], " "), " >")
				if _, err := ipvsadm.Parse(strings.Fields(before), nil); err != nil {
					t.Errorf("%s: %q: %v", topic.Name, line, err)
				}
			}
		}
	}
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"one two three", 7, []string{"one two", "three"}},
		{"one two", 6, []string{"one", "two"}},
		{"unbreakable x", 5, []string{"unbreakable", "x"}},
	} {
		if diff := cmp.Diff(c.want, fill(c.text, c.width)); diff != "" {
			t.Errorf("%q to %d (-want +got):\n%s", c.text, c.width, diff)
		}
	}
}
