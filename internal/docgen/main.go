package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
)

const madeBy = "Made by go run ./internal/docgen (make docs): do not edit."

// files are what is written, by their paths from the top of the tree.
func files() map[string]string {
	return map[string]string{
		"docs/man/goipvs.8":               manPage(),
		"contrib/completions/goipvs.bash": bashScript(),
		"contrib/completions/_goipvs":     zshScript(),
		"contrib/completions/goipvs.fish": fishScript(),
	}
}

// configFiles tell of goipvs.toml.
func configFiles() map[string]string {
	return map[string]string{
		"docs/man/goipvs.toml.5":   configMan(),
		"docs/config-reference.md": configReference(),
	}
}

// written are the files of both.
func written() map[string]string {
	m := files()
	maps.Copy(m, configFiles())
	return m
}

func main() {
	for path, text := range written() {
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "docgen:", err)
			os.Exit(1)
		}
	}
}
