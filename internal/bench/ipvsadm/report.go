package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// The figures stand between these lines of the document; what is around them is
// written by hand.
const (
	from = "<!-- figures: begin (make bench writes them) -->\n"
	to   = "<!-- figures: end -->\n"
)

// goal is a promise: ours costs at most limit of theirs.
type goal struct {
	ours, theirs string
	limit        float64
	rss          int64 // MiB, 0 for no promise
}

func goals(large string) []goal {
	return []goal{
		{"goipvs -R 1000x10", "ipvsadm -R 1000x10", 1.0 / 25, 0},
		{"goipvs -R " + large, "", 0, 16},
		{"goipvs -Ln " + large, "ipvsadm -Ln " + large, 1.0 / 3, 12},
		{"goipvs -Sn " + large, "ipvsadm -Sn " + large, 0, 0},
		{"goipvs apply, 1 % changed, " + large, "ipvsadm -C and -R, 1 % changed, " + large, 1.0 / 20, 0},
		{"goipvs -A, 100 times", "ipvsadm -A, 100 times", 1.5, 0},
		{"goipvs -A, 100 times, stock kernel", "ipvsadm -A, 100 times, stock kernel", 1.5, 0},
	}
}

// report prints the figures and puts them into the document.
func report(figures []*figure, doc string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s; CPU seconds of the whole kernel, median of the rounds (lowest to highest).\n\n", time.Now().Format(time.DateOnly), cpuModel())
	b.WriteString("| command | CPU s | rounds | resident MiB |\n|---|---|---|---|\n")
	for _, f := range figures {
		s := slices.Sorted(slices.Values(f.cpu))
		fmt.Fprintf(&b, "| `%s` | %.2f | %d (%.2f to %.2f) | %.1f |\n", f.name, f.median().Seconds(), len(s),
			s[0].Seconds(), s[len(s)-1].Seconds(), float64(f.rss)/1024)
	}
	b.WriteString("\n| promise | measured | kept |\n|---|---|---|\n")
	for _, g := range goals(largeSize(figures)) {
		b.WriteString(g.row(figures))
	}
	fmt.Print("\n", b.String())
	if doc == "" {
		return nil
	}
	return replace(doc, b.String())
}

func largeSize(figures []*figure) string {
	for _, f := range figures {
		if size, ok := strings.CutPrefix(f.name, "goipvs -Ln "); ok {
			return size
		}
	}
	return ""
}

func (g goal) row(figures []*figure) string {
	find := func(name string) *figure {
		if i := slices.IndexFunc(figures, func(f *figure) bool { return f.name == name }); i >= 0 {
			return figures[i]
		}
		return nil
	}
	ours, theirs := find(g.ours), find(g.theirs)
	var out string
	if ours != nil && theirs != nil && theirs.median() > 0 {
		ratio := ours.median().Seconds() / theirs.median().Seconds()
		promise, kept := "none", "–"
		if g.limit > 0 {
			promise, kept = fmt.Sprintf("at most %.3g of", g.limit), verdict(ratio <= g.limit)
		}
		out += fmt.Sprintf("| `%s`: %s `%s` | %.3f (1/%.1f) | %s |\n", g.ours, promise, g.theirs, ratio, 1/ratio, kept)
	}
	if ours != nil && g.rss > 0 {
		mib := float64(ours.rss) / 1024
		out += fmt.Sprintf("| `%s`: at most %d MiB resident | %.1f | %s |\n", g.ours, g.rss, mib, verdict(mib <= float64(g.rss)))
	}
	return out
}

func verdict(kept bool) string {
	if kept {
		return "yes"
	}
	return "**no**"
}

func replace(doc, figures string) error {
	b, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(b), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: the lines that enclose the figures are missing", doc)
	}
	return os.WriteFile(doc, []byte(before+from+figures+to+after), 0o644)
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}
