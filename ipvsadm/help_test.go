package ipvsadm_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvsadm"
)

// TestHelpExamples types the examples of --help, one after the other, as they
// stand there.
func TestHelpExamples(t *testing.T) {
	text := run(nil, "/sbin/ipvsadm", "", "--help").Stdout
	_, examples, ok := strings.Cut(text, "\nExamples\n")
	if !ok {
		t.Fatalf("no examples in\n%s", text)
	}
	k := fakeKernel()
	var saved string
	var titles int
	for line := range strings.Lines(examples) {
		w := strings.Fields(line)
		switch {
		case strings.HasSuffix(line, ":\n"):
			titles++
		case w[0] == "ipvsadm":
			argv, file, _ := strings.Cut(strings.Join(w[1:], " "), " > ")
			a := run(k, w[0], "", strings.Fields(argv)...)
			if a.Exit != 0 || a.Stderr != "" {
				t.Errorf("%s: %+v", line, a)
			}
			if file == "web.rules" {
				saved = a.Stdout
			}
		case line == "    goipvs apply --prune web.rules\n":
			var out strings.Builder
			r := ipvsadm.Runner{Prog: w[0], Stdin: strings.NewReader(saved), Stdout: &out, Stderr: &out,
				Dial: func() (ipvsadm.Kernel, error) { return k, nil }}
			if status := r.Apply(ipvsadm.ApplyOptions{Prune: true}); status != 0 || out.String() != "# nothing to change\n" {
				t.Errorf("%s: status %d, %q", line, status, out.String())
			}
		default:
			t.Errorf("%q is no example", line)
		}
	}
	want := "-A -t 192.0.2.10:80 -s wlc\n-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 0\n"
	if diff := cmp.Diff(want, save(t, k)); diff != "" || titles != 3 || saved != want {
		t.Errorf("%d examples; the table (-want +got):\n%s", titles, diff)
	}
}
