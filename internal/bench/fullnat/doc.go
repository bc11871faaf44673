// Fullnat is what `make bench-fullnat` runs: the user-space full NAT
// beside HAProxy and nginx, in one run. It needs root, for network namespaces
// (client, director with a virtual and eight local addresses, two real servers
// without a route back), and no kernel but the machine's own.
//
// All proxies are up all the time. Load by load, each has a client of its own,
// and they take turns in short slices: what else the machine does changes more
// slowly than that. What is compared is the CPU time of the proxy's processes
// (schedstat) for a unit of work, as a ratio within the round: rates depend on
// what else the machine does, ratios hardly. The clients and servers are this
// program, too, each a thread with an epoll of its own. Most loads are closed
// loops, an answer leads to the next request, so that their latency is the
// number of connections by the rate; paced1000 has requests come at a rate that
// all proxies can do, and tells what users feel. -against has other builds of
// this program take part as proxies, to see what a change is worth.
package main
