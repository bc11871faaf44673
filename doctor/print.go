package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	role := "neither a director nor a real server, as far as can be seen"
	if len(r.Roles) > 0 {
		role = strings.ReplaceAll(strings.Join(r.Roles, " and "), "realserver", "real server")
	}
	fmt.Fprintf(&b, "%s: %s\n", r.Host, role)
	if r.Service != "" {
		fmt.Fprintf(&b, "service: %s\n", r.Service)
	}
	for _, p := range r.Probes {
		fmt.Fprintf(&b, "probe: %s %s, virtual address: %s, its own address: %s", p.Destination, p.Method, p.Outcome, p.Direct)
		if p.Detail != "" {
			fmt.Fprintf(&b, " (%s)", p.Detail)
		}
		b.WriteByte('\n')
	}
	for _, f := range r.Findings {
		f.print(&b)
	}
	if len(r.Unknown) > 0 {
		b.WriteString("\nnot seen:\n")
		for _, u := range r.Unknown {
			fmt.Fprintf(&b, "  %s: %s\n", u.What, u.Why)
		}
	}
	fmt.Fprintf(&b, "\n%s, %s, %d info\n", count(r.Count(Error), "error"), count(r.Count(Warning), "warning"), r.Count(Info))
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func (f *Finding) print(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %s", f.Severity, f.ID)
	if f.Object != "" {
		b.WriteString(": " + f.Object)
	}
	fmt.Fprintf(b, "\n  seen: %s\n  why:  %s\n", f.Seen, f.Why)
	for i, line := range f.Fix {
		b.WriteString([]string{"  fix:  ", "        "}[min(i, 1)] + line + "\n")
	}
	for i, line := range f.Undo {
		b.WriteString([]string{"  undo: ", "        "}[min(i, 1)] + line + "\n")
	}
}
