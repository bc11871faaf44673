package importer_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/director"
)

// director builds what was made: package healthcheck takes its checks. Programs,
// users and certificates that are not on this machine are the operator's.
func TestDirectorBuilds(t *testing.T) {
	try := func(name string, r importer.Result) {
		n := byte(0)
		b, _ := r.Config.Bind(func(config.Host) (netip.Addr, bool) { n++; return netip.AddrFrom4([4]byte{10, 99, 0, n}), true })
		_, err := director.Build(b, false)
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			if !strings.Contains(line, "no such file") && !strings.Contains(line, "not found") && !strings.Contains(line, "unknown user") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	for program, convert := range converters {
		files, err := filepath.Glob("testdata/" + program + "/*.conf")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range append(files, "testdata/"+program+".cases") {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for c := range strings.SplitSeq("\n"+string(src), "\n=== ") {
				name, _, _ := strings.Cut(c, "\n")
				try(f+" "+name, convert(f, []byte(c+"\n"), known))
			}
		}
	}
}
