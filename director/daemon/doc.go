// Package daemon is goipvsd: it ties a configuration file, the director, the
// checks, the control socket, signals and systemd together. cmd/goipvsd only
// reads the command line.
package daemon
