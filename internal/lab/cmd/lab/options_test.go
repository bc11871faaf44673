package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/internal/lab/boot"
)

func TestOptions(t *testing.T) {
	plain := boot.Options{
		Kind: "uml", Memory: 1024, CPUs: 2, Boot: 2 * time.Minute, Limit: 10 * time.Minute, Modules: []string{"ip_vs"},
	}
	with := func(f func(o *boot.Options)) *boot.Options {
		o := plain
		f(&o)
		return &o
	}
	tests := []struct {
		name, env, args string
		argv            string
		want            *boot.Options
	}{
		{"defaults", "", "prog -x", "prog -x", &plain},
		{"variables", "LAB=qemu LAB_COUNT=1 LAB_MEMORY=64 LAB_CPUS=1 LAB_TIMEOUT=5s LAB_BOOT_TIMEOUT=6s LAB_LOG=f LAB_MODULES=ip_vs,fou", "p", "p",
			&boot.Options{Kind: "qemu", Count: true, Memory: 64, CPUs: 1, Limit: 5 * time.Second, Boot: 6 * time.Second, Log: "f", Modules: []string{"ip_vs", "fou"}}},
		{"flags win", "LAB=qemu LAB_TIMEOUT=5s", "-kind uml -timeout 7s p", "p", with(func(o *boot.Options) { o.Limit = 7 * time.Second })},
		{"no modules", "LAB_MODULES=none", "p", "p", with(func(o *boot.Options) { o.Modules, o.NoLoad = nil, true })},
		{"a shell has no time limit", "SHELL=/bin/dash", "-shell", "/bin/dash", with(func(o *boot.Options) { o.TTY, o.Limit = true, 0 })},
		{"bash", "SHELL=/bin/bash", "-shell -- -c true", "/bin/bash --norc -c true", with(func(o *boot.Options) { o.TTY, o.Limit = true, 0 })},
		{"test binary with its own limit", "", "p -test.timeout=30m0s", "p -test.timeout=30m0s", with(func(o *boot.Options) { o.Limit = 31 * time.Minute })},
		{"test binary without limit", "", "p -test.timeout=0s", "p -test.timeout=0s", with(func(o *boot.Options) { o.Limit = 0 })},
		{"our limit before the test's", "LAB_TIMEOUT=1m", "p -test.timeout=30m0s", "p -test.timeout=30m0s", with(func(o *boot.Options) { o.Limit = time.Minute })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, key := range []string{"LAB", "LAB_MEMORY", "LAB_CPUS", "LAB_COUNT", "LAB_TIMEOUT", "LAB_BOOT_TIMEOUT", "LAB_LOG", "LAB_MODULES"} {
				t.Setenv(key, "")
			}
			for kv := range strings.FieldsSeq(tt.env) {
				key, value, _ := strings.Cut(kv, "=")
				t.Setenv(key, value)
			}
			argv, got, err := options(strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Stdin, tt.want.Stdout, tt.want.Stderr = os.Stdin, os.Stdout, os.Stderr
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(boot.Options{}, "Stdin", "Stdout", "Stderr")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(strings.Fields(tt.argv), argv); diff != "" {
				t.Error(diff)
			}
		})
	}
}
