// Package healthcheck looks at real servers and says which are up.
//
// A check is described by a [Check], aimed at a [Target] and becomes a [Probe]:
// a function that looks once and returns nil or the reason why the server is
// not well. Every protocol is a row of one table and a file of its own. What a
// protocol says and hears goes through a [Dialer], which holds the whole check
// to one absolute deadline and to a budget of bytes, and writes down what was
// said for the operator who asks why.
//
// A [Runner] makes checks again and again and turns results into verdicts: up,
// down, or unknown when the trouble is our own and says nothing of the server.
//
// The package knows nothing of configuration files, of the kernel's tables, or
// of what is done about a server that is down.
package healthcheck
