// Package evil has servers that do what no server should: they hang, drip,
// flood, lie about lengths, reset and loop. Whatever checks servers must get
// away from each of them in time, with little read and nothing left behind.
package evil
