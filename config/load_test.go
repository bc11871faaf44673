package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

var update = flag.Bool("update", false, "rewrite golden files")

// same compares what configurations mean, not where it was read.
var same = cmp.Options{
	cmpopts.IgnoreTypes(config.Position{}),
	cmpopts.IgnoreFields(config.Config{}, "Files", "Include", "Warnings"),
	cmpopts.EquateComparable(ipvs.Netmask{}),
	cmpopts.EquateComparable(),
	cmpopts.EquateEmpty(),
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

// Every mistake of a file is named at once, with its line.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no files")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			_, err := config.Load(f, config.Options{})
			if err == nil {
				t.Fatal("no error")
			}
			golden(t, f+".golden", err.Error()+"\n")
		})
	}
}
