// Package config is goipvs.toml, the file that tells goipvsd which services to
// keep: it is read strictly, checked as a whole, and printed back.
//
// [Load] reads a file and the files it includes. Every problem is found in one
// run and named by file and line; a [Config] is returned only when there is
// none, and holds checked values alone. Unknown keys are problems. [Print] is
// the canonical text of a Config: loaded again it gives the same Config.
//
// The keys of every table are rows (keys_*.go). Reading, printing, the defaults
// and docs/config.md come from those rows, and so does what is suggested for a
// misspelled key.
//
// Nothing here asks the network: host names of real servers stay names until
// [Config.Bind] is given their addresses.
package config
