// Directors compares goipvsd with Debian's keepalived and ldirectord, in the
// lab's kernel and in one run: `make bench-directors`.
//
// The program has three roles. Outside it boots a kernel for each director and
// prints what they came to, side by side. Inside it starts real servers and one
// director, does to them what happens in a director's life, and watches the
// kernel's table. And as servers it is what the directors check: addresses of
// loopback that accept and close, of which some can be told to die; a tenth of
// all are addresses from which nothing ever comes back.
package main
