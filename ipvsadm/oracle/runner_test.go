package oracle

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// kernel is the lab's kernel for goipvs in the test's own process. It outlives
// the commands.
type kernel struct{ *ipvs.Client }

func (kernel) Close() error { return nil }

func dial(t *testing.T) kernel {
	t.Helper()
	lab.Need(t)
	k, err := ipvs.Dial(ipvs.Options{})
	must(t, err)
	t.Cleanup(func() { k.Close() })
	return kernel{k}
}

// run runs goipvs in this process.
func (k kernel) run(prog, stdin string, argv ...string) answer {
	var out, errs bytes.Buffer
	r := ipvsadm.Runner{
		Prog: prog, Version: "test", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Dial:  func() (ipvsadm.Kernel, error) { return k, nil },
		Names: &ipvsadm.Resolver{Hosts: filepath.Join(etc, "hosts"), Services: filepath.Join(etc, "services")},
	}
	return answer{r.Run(argv), out.String(), errs.String()}
}

// restore carries out rules that must be right.
func (k kernel) restore(t *testing.T, rules string) {
	t.Helper()
	if a := k.run("goipvs", rules, "-R"); a.Exit != 0 || a.Stdout+a.Stderr != "" {
		t.Fatalf("rules: %+v\n%s", a, rules)
	}
}
