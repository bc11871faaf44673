package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ask has goipvs run on the director of a folder.
func ask(dir string, args []string) (status int, err error) {
	var in []byte
	if slices.Contains(args, "-") { // else it is not read, and may never end
		if in, err = io.ReadAll(os.Stdin); err != nil {
			return 0, err
		}
	}
	name := filepath.Join(filepath.Dir(dir), fmt.Sprintf("%d-%d", time.Now().UnixNano(), os.Getpid()))
	if err := put(name+".request", request{filepath.Base(dir), args, in}); err != nil {
		return 0, err
	}
	var a answer
	if err := await(name+".answer", &a); err != nil {
		return 0, err
	}
	_, err1 := os.Stdout.Write(a.Stdout)
	_, err2 := os.Stderr.Write(a.Stderr)
	return a.Status, errors.Join(err1, err2, os.Remove(name+".request"))
}
