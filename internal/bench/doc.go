// Package bench is what the programs that `make bench` runs have in common, each
// of which is a folder below: they leave nothing behind, and they read what
// processes have used.
package bench
