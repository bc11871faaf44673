//go:build goipvs_split

package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// runVerb becomes the program goipvs-verbs, which is beside this one or in
// libexec, so that one-shot commands are spared its size.
func runVerb(args []string, _ io.Reader, _, errw io.Writer) int {
	self, err := os.Executable()
	if err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			dir := filepath.Dir(self)
			for _, path := range []string{filepath.Join(dir, "goipvs-verbs"), filepath.Join(dir, "../libexec/goipvs/goipvs-verbs")} {
				if err = syscall.Exec(path, args, os.Environ()); !errors.Is(err, fs.ErrNotExist) {
					break
				}
			}
		}
	}
	_, _ = io.WriteString(errw, "goipvs: "+args[1]+": start goipvs-verbs: "+err.Error()+"\n"+
		"goipvs: hint: make install puts it into libexec/goipvs\n")
	return 1
}
