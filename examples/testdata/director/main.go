// Command director lends the kernel of a lab to programs outside of it: Ansible,
// whose Python would take minutes there, finds a goipvs that works on that kernel.
//
//	lab director GOIPVS FOLDER    in the lab, serves the requests in FOLDER; each
//	                              director is a network namespace of its own
//	FOLDER/lb1/goipvs ARGUMENTS   outside, by a link to this program: runs GOIPVS
//	                              with the arguments on director lb1
//
// The two see the same files and nothing else of each other, so a request is a
// file, its answer another, and each is there whole or not at all.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	tick     = 20 * time.Millisecond
	patience = 5 * time.Minute
)

type request struct {
	Director string
	Args     []string
	Stdin    []byte
}

type answer struct {
	Status         int
	Stdout, Stderr []byte
}

func main() {
	if filepath.Base(os.Args[0]) == "goipvs" {
		os.Exit(report(ask(filepath.Dir(os.Args[0]), os.Args[1:])))
	}
	os.Exit(report(1, serve(os.Args[1], os.Args[2])))
}

func report(status int, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "director:", err)
		return 125
	}
	return status
}

// put writes a file that is whole when it has its name.
func put(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

func get(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// await gets a file that another program puts.
func await(name string, v any) error {
	for end := time.Now().Add(patience); ; time.Sleep(tick) {
		if err := get(name, v); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the lab does not answer: no %s after %v", name, patience)
		}
	}
}
