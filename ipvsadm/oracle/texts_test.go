package oracle

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// texts is how many TestKernelTexts tries.
var texts = flag.Int("texts", 10, "random rules files to try")

// TestKernelTexts gives both programs the same random texts to -R, of lines that
// are right, though the kernel may refuse them, and laid out in every way.
func TestKernelTexts(t *testing.T) {
	k, theirs := dial(t), newStage(t).real(t)
	reader := theirs.reader(t)
	dummy(t, "eth0")
	dummy(t, "dum0")
	l := &liner{rand.New(rand.NewPCG(*seed, 1))}
	try := func(run func() answer) (a answer, after string) {
		stopDaemons(t, k)
		k.restore(t, base)
		a = run()
		return a, reader.ask(t, "-S -n\n-L -n --thresholds\n-L --daemon\n") + reader.end
	}
	for range *texts {
		text := l.text(30)
		want, wantAfter := try(func() answer { return theirs.run(t, text, "-R") })
		got, gotAfter := try(func() answer { return k.run("/sbin/ipvsadm", text, "-R") })
		got.Stdout = thresholds.ReplaceAllString(got.Stdout, "$1")
		// Lines are sorted, as ipvsadm's order overflows.
		if diff := cmp.Diff(sorted(want.Stdout+wantAfter), sorted(got.Stdout+gotAfter)); diff != "" {
			t.Errorf("-ipvsadm (exit %d, %s) +goipvs:\n%s\n%s", want.Exit, want.Stderr, diff, text)
		}
		// ipvsadm's status is that of the last line.
		if got.Exit == 0 && want.Exit != 0 || (got.Exit == 0) != (got.Stderr == "") || got.Exit == 0 && want.Stderr != "" {
			t.Errorf("ipvsadm: exit %d, %s\ngoipvs: exit %d, %s\n%s", want.Exit, want.Stderr, got.Exit, got.Stderr, text)
		}
	}
	stopDaemons(t, k)
}

// text is a text of so many lines that are right.
func (l *liner) text(lines int) string {
	var b strings.Builder
	for range lines {
		words := l.right()
		for range l.IntN(3) {
			if l.IntN(4) == 0 {
				words = append(words[:0:0], words...)
				i := l.IntN(len(words) + 1)
				words = append(words[:i:i], append([]string{"ipvsadm"}, words[i:]...)...)
			}
		}
		b.WriteString(l.of([]string{"", "", "", " ", "\t", "\r"}))
		for _, w := range words {
			b.WriteString(w + l.of([]string{" ", " ", " ", "  ", "\t", " \r "}))
		}
		b.WriteString(l.of([]string{"\n", "\n", "\n", "\r\n", "\n\n", "\n \t\n"}))
	}
	return strings.TrimRight(b.String(), " \t\r\n") + l.of([]string{"", "\n", "\r\n", "\n\n"})
}

// right is a command line that is right, and that a text can hold: no word of it
// is empty. Nor has it what ipvsadm cannot list: large marks, flag-3 of sh and mh.
func (l *liner) right() []string {
	for {
		argv, ok := l.rightly()
		for _, w := range argv {
			ok = ok && w != "" && !strings.HasSuffix(w, "=") && !strings.ContainsAny(w, " \t#") && !strings.Contains(w, "4294967295") && !strings.Contains(w, "flag-3")
		}
		if ok {
			return argv
		}
	}
}

// rightly also leaves out what ends ipvsadm: a service to list that is not there,
// and the stop of a sync daemon that was started just before, for the answer to
// which it waits for ever (docs/kernel.md).
func (l *liner) rightly() (argv []string, ok bool) {
	argv, names := l.command()
	for _, name := range names {
		argv = append(argv, l.option(name, false)...)
	}
	c, err := ipvsadm.Parse(argv, &ipvsadm.Resolver{Hosts: filepath.Join(etc, "hosts"), Services: filepath.Join(etc, "services")})
	ends := c.Action == ipvsadm.ActionList && c.Change.Service.ServiceKey != (ipvs.ServiceKey{})
	return argv, err == nil && !ends && c.Action != ipvsadm.ActionStopDaemon
}
