package importer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fuzz has the program's small files and cases as seeds: whatever is in a file,
// what is made of it loads.
func fuzz(f *testing.F, program string) {
	files, err := filepath.Glob("testdata/" + program + "/*.conf")
	if err != nil || len(files) == 0 {
		f.Fatal(err, "no files")
	}
	for _, name := range append(files, "testdata/"+program+".cases") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for c := range strings.SplitSeq(string(b), "\n=== ") {
			if len(c) < 4000 {
				f.Add(c)
			}
		}
	}
	convert := converters[program]
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) < 64<<10 {
			holds(t, convert("fuzz", []byte(src), known))
		}
	})
}

func FuzzLdirectord(f *testing.F) { fuzz(f, "ldirectord") }

func FuzzKeepalived(f *testing.F) {
	f.Add("$A=\\\n$B\\\n$B\n$B=$A $A\n$A\n~SEQ(X,1,9) ~SEQ(Y,1,9) ~LST(Z,a,b) $A\n")
	fuzz(f, "keepalived")
}
