package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
)

// TestKernelDemo holds the README to what its commands do.
func TestKernelDemo(t *testing.T) {
	lab.Need(t)
	goipvs, err := filepath.Abs("../../bin/goipvs") // make builds it before the kernel tests
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	d := &demo{goipvs: goipvs, requests: 30, out: &out}
	if err := d.run(t.Context(), "../../README.md"); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestScript(t *testing.T) {
	for _, act := range acts {
		for _, block := range []string{act.block, act.block + "-out"} {
			commands, err := script("../../README.md", block)
			if err != nil {
				t.Error(err)
			}
			if len(commands) == 0 {
				t.Errorf("the README's block %q is empty", block)
			}
		}
	}
	if _, err := script("../../README.md", "nosuch"); err == nil {
		t.Error("a block that is not there was found")
	}
}

func TestServersAreHeldToTheirWeights(t *testing.T) {
	table := servers{{Weight: 1, name: "rs1"}, {Weight: 3, name: "rs2"}, {Weight: 0, name: "rs3"}}
	tests := []struct {
		got  map[string]int
		want string // a part of the error, empty for none
	}{
		{map[string]int{"rs1": 25, "rs2": 75}, ""},
		{map[string]int{"rs1": 30, "rs2": 70}, ""},
		{map[string]int{"rs1": 50, "rs2": 50}, "rs1 has weight 1 of 4 and served 50 of 100"},
		{map[string]int{"rs1": 25, "rs2": 74, "rs3": 1}, "rs3 has weight 0"},
	}
	for _, tt := range tests {
		err := table.check(tt.got, 100)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("check(%v) = %v, want %q", tt.got, err, tt.want)
		}
	}
}
