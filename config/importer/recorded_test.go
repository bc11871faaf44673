package importer_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/ipvs"
)

// Debian's ldirectord 4.12.0 was started on such sections, one for each of its
// directives and services, and on files that people have, with a program in place
// of ipvsadm that writes its arguments down. What it added is what the converted
// configuration asks for. (Of real servers that are in several services it adds
// only some at first, which is a fault of its own: files with such are not among
// these.)
func TestLdirectordRecorded(t *testing.T) {
	b, err := os.ReadFile("testdata/ldirectord.recorded")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split("\n"+string(b), "\n=== ")[1:]
	if len(cases) != 23 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		name, rest, _ := strings.Cut(c, "\n")
		src, recorded, _ := strings.Cut(rest, "--- ipvsadm\n")
		if file, ok := strings.CutPrefix(strings.TrimSpace(src), "include "); ok {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			src = string(b)
		}
		r := importer.Ldirectord(name, []byte(src), importer.Options{})
		holds(t, r)
		if diff := cmp.Diff(asKernel(recorded), ipvsadmLines(r.Config)); diff != "" {
			t.Errorf("%s (-ldirectord +converted):\n%s", name, diff)
		}
	}
}

// asKernel gives servers that are not masqueraded the port of their service, as
// ipvsadm does, but to those of firewall marks.
func asKernel(recorded string) (out []string) {
	for line := range strings.Lines(recorded) {
		w := strings.Fields(line)
		if w[0] == "-a" && w[1] != "-f" && !slices.Contains(w, "-m") {
			r := 1 + slices.Index(w, "-r")
			w[r] = w[r][:strings.LastIndexByte(w[r], ':')] + w[2][strings.LastIndexByte(w[2], ':'):]
		}
		out = append(out, strings.Join(w, " "))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ipvsadmLines are the additions as ldirectord makes them, sorted.
func ipvsadmLines(c *config.Config) (out []string) {
	for i := range c.Virtuals {
		v := &c.Virtuals[i]
		s := &v.Service
		id := fmt.Sprintf("-%c %s", s.Protocol.String()[0], s.Addr)
		if s.FWMark != 0 {
			id = fmt.Sprintf("-f %d", s.FWMark)
		}
		line := "-A " + id + " -s " + s.Scheduler
		if s.Flags&ipvs.Persistent != 0 {
			line += fmt.Sprintf(" -p %d", int(s.Timeout.Seconds()))
		}
		out = append(out, line)
		for _, r := range append(slices.Clone(v.Reals), v.Fallback...) {
			method := map[ipvs.Method]string{ipvs.NAT: "-m", ipvs.DirectRoute: "-g", ipvs.Tunnel: "-i"}[r.Method]
			out = append(out, fmt.Sprintf("-a %s -x %d -y %d -r %s %s -w %d", id, r.Upper, r.Lower, r.Destination().Addr, method, r.Weight))
		}
	}
	slices.Sort(out)
	return out
}
