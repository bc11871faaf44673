// Package oracle has no code, only kernel tests: goipvs and Debian's ipvsadm
// work on the same kernel, and the one is judged by what the other does.
//
//   - The recorded cases, with the table read back by the real program.
//   - Random tables, saved by one program and restored by the other.
//   - Random command lines, right and slightly wrong, given to both.
//   - Debian's init script and wrapper scripts, with goipvs under ipvsadm's name.
//
// The real program runs in a root of its own, so that the machine's files
// neither matter nor change. "lab -prepare" fetches it, which "make test" does.
package oracle
