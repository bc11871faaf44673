// Command demo shows goipvs at its main job, in the lab's kernel: it builds a
// client, a router, a director and three real servers, types the README's own
// commands on the director, for NAT, direct routing and tunnelling in turn,
// sends real HTTP requests through the virtual address, and shows who answered.
// Its status is 0 only if every request was answered as it should be.
package main
