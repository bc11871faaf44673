// Package importer makes a goipvs.toml of the configurations of ldirectord and
// keepalived.
//
// What it makes always loads. Whatever could not be carried over is told by
// file and line, each time it occurs; what goipvs does by itself, and settings
// that have no effect, are passed over in silence. The readers take more than
// the two programs do: blanks, comments and indentation that these trip over
// are no reason to lose a line.
package importer
