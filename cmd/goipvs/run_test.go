package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRun covers what needs no kernel: names and words.
func TestRun(t *testing.T) {
	type answer struct {
		Exit           int
		Stdout, Stderr string // their first lines
	}
	version = "1.2.3"
	for _, c := range []struct {
		args string
		want answer
	}{
		{"goipvs lits", answer{2, "", `goipvs: usage: unknown command "lits" (try "goipvs help")`}},
		{"/usr/sbin/goipvs lits -n", answer{2, "", `goipvs: usage: unknown command "lits" (try "goipvs help")`}},
		{"/sbin/ipvsadm lits", answer{255, "", "ipvsadm: lits: a command must come first"}},
		{"/sbin/ipvsadm foo -L", answer{2, "", "ipvsadm: foo: unexpected argument"}},
		{"goipvs -v", answer{0, "goipvs 1.2.3", ""}},
		{"ipvsadm --version", answer{0, "goipvs 1.2.3", ""}},
		{"ipvsadm -h", answer{0, "Usage: ipvsadm COMMAND [OPTION]...", ""}},
		{"goipvs --help", answer{0, "Usage: goipvs COMMAND [OPTION]...", ""}},
		{"goipvs help", answer{0, "Usage: goipvs help [TOPIC|VERB]", ""}},
		{"goipvs help schedulers", answer{0, "Schedulers: which real server a new connection gets", ""}},
		{"ipvsadm help schedulers", answer{255, "", "ipvsadm: help: a command must come first"}},
		{"goipvs -A -t", answer{255, "", "goipvs: -t: missing argument"}},
		{"ipvsadm-save -x", answer{1, "", "ipvsadm-save: -x: unknown option"}},
		{"ipvsadm-restore", answer{2, "", "ipvsadm-restore: stdin:1: rubbish: a command must come first"}},
	} {
		var out, errs strings.Builder
		exit := run(strings.Fields(c.args), strings.NewReader("rubbish"), &out, &errs)
		if diff := cmp.Diff(c.want, answer{exit, line(out.String()), line(errs.String())}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.args, diff)
		}
	}
}

func line(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}
