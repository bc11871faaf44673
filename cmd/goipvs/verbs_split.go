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

// runVerb becomes the program goipvs-verbs, so that one-shot commands are spared
// its size.
func runVerb(args []string, _ io.Reader, _, errw io.Writer) int {
	err := companion(func(path string) error { return syscall.Exec(path, args, os.Environ()) })
	hint := "make install puts it into libexec/goipvs"
	if _, none := os.Executable(); none != nil { // nobody knows where this program is
		hint = "is /proc mounted? mount -t proc proc /proc"
	}
	_, _ = io.WriteString(errw, "goipvs: "+args[1]+": "+err.Error()+"\ngoipvs: hint: "+hint+"\n")
	return 1
}

// companion starts goipvs-verbs, which is beside this program or in libexec.
func companion(start func(path string) error) error {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err == nil {
		dir := filepath.Dir(self)
		for _, path := range []string{filepath.Join(dir, "goipvs-verbs"), filepath.Join(dir, "../libexec/goipvs/goipvs-verbs")} {
			if err = start(path); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
	}
	if err != nil {
		return errors.New("start goipvs-verbs: " + err.Error())
	}
	return nil
}
