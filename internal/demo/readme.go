package main

import (
	"fmt"
	"os"
	"strings"
)

// script returns the commands of the README's block "```sh NAME".
func script(readme, name string) ([][]string, error) {
	b, err := os.ReadFile(readme)
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(b), "```sh "+name+"\n")
	block, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		return nil, fmt.Errorf("%s has no block \"sh %s\"", readme, name)
	}
	var commands [][]string
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 0 {
			if f[0] != "goipvs" {
				return nil, fmt.Errorf("%s: block \"sh %s\": %q is no goipvs command", readme, name, line)
			}
			commands = append(commands, f[1:])
		}
	}
	return commands, nil
}
