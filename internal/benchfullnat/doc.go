// Benchfullnat is what `make bench-fullnat` runs: the user-space full NAT
// beside HAProxy and nginx, in one run. It needs root, for network namespaces
// (client, director with a virtual and eight local addresses, two real servers
// without a route back), and no kernel but the machine's own.
//
// All proxies are up all the time; each round gives every load to every proxy in
// turn. What is compared is the CPU time of the proxy's processes (schedstat)
// for a unit of work, as a ratio within the round: rates depend on what else
// the machine does, ratios hardly. The clients and servers are this program,
// too, each a thread with an epoll of its own.
package main
