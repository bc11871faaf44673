// Package record keeps what has to be undone later in files under /run/goipvs:
// one file for each purpose and network namespace, locked while a program works
// with it, replaced as a whole, so that a program killed at any moment leaves
// either the old content or the new one.
//
// Addresses and kernel knobs do not outlive a boot or a namespace, so a file of
// an earlier boot counts as empty. It can exist where /run does.
package record
