// Demofullnat is what `make demo-fullnat` runs: full NAT in user space, on the
// machine itself, without root. Three real HTTP servers, each a process of its
// own, stand behind one virtual address; checks watch them; one is killed, its
// traffic moves, and comes back with it. All addresses are of loopback.
package main
