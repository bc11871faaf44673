package importer_test

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/ipvs"
)

var update = flag.Bool("update", false, "rewrite golden files")

var converters = map[string]func(string, []byte, importer.Options) importer.Result{
	"ldirectord": importer.Ldirectord,
	"keepalived": importer.Keepalived,
}

// known are the names that the tests know.
var known = importer.Options{
	ConfigID: "here",
	Host: func(name string, f ipvs.Family) (netip.Addr, error) {
		if a, ok := map[string]string{"www": "192.0.2.80", "localhost": "127.0.0.1"}[name]; ok && f == ipvs.IPv4 {
			return netip.MustParseAddr(a), nil
		}
		return netip.Addr{}, fmt.Errorf("no address for host name %q", name)
	},
	Port: func(name string, p ipvs.Protocol) (uint16, error) {
		if name == "http" && p == ipvs.TCP {
			return 80, nil
		}
		return 0, errors.New("no port for service name " + name)
	},
}

// text is a result to be compared: what is lost, and the configuration.
func text(r importer.Result) string {
	var b strings.Builder
	for _, p := range r.Lost {
		fmt.Fprintf(&b, "# %s\n", p)
	}
	b.Write(config.Print(r.Config))
	return b.String()
}

// holds checks what is true of every result.
func holds(t *testing.T, r importer.Result) {
	t.Helper()
	if _, err := config.Parse("made.toml", config.Print(r.Config), config.Options{}); err != nil {
		t.Errorf("what was made does not load: %v\n%s", err, config.Print(r.Config))
	}
	for i, p := range r.Lost {
		if p.Text == "" || strings.ContainsAny(p.Text, "\n\x00\x01") || strings.Contains(p.Text, "report this") {
			t.Errorf("lost: %q", p)
		}
		if i > 0 && p.File == r.Lost[i-1].File && p.Line < r.Lost[i-1].Line {
			t.Errorf("lost: %s after %s", p, r.Lost[i-1])
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Every directive has a case, and every case a result that somebody has read.
func TestDirectives(t *testing.T) {
	for program, convert := range converters {
		b, err := os.ReadFile("testdata/" + program + ".cases")
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, c := range strings.Split("\n"+string(b), "\n=== ")[1:] {
			name, src, _ := strings.Cut(c, "\n")
			r := convert("case", []byte(src+"\n"), known)
			holds(t, r)
			fmt.Fprintf(&got, "=== %s\n%s", name, text(r))
		}
		golden(t, "testdata/"+program+".cases.golden", got.String())
	}
}

// What people really have: each file is carried over, or it is said line by
// line what is not.
func TestCorpus(t *testing.T) {
	for program, convert := range converters {
		files, err := filepath.Glob("testdata/" + program + "/*.conf")
		if err != nil || len(files) < 35 {
			t.Fatal(len(files), err)
		}
		var sum strings.Builder
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			r := convert("/etc/"+program+"/"+filepath.Base(f), src, known)
			holds(t, r)
			servers := 0
			for _, v := range r.Config.Virtuals {
				servers += len(v.Reals)
			}
			fmt.Fprintf(&sum, "%s: %d services, %d real servers, %d lines lost\n", filepath.Base(f), len(r.Config.Virtuals), servers, len(r.Lost))
			if _, err := os.Stat(f + ".golden"); err == nil {
				golden(t, f+".golden", text(r))
			}
		}
		golden(t, "testdata/"+program+".corpus.golden", sum.String())
	}
}
