// Package schedulers holds the tests that let the kernel's IPVS choose servers
// for real connections, and compare each choice with what goipvs says it is:
// once with sequences written down by hand, and at random with the model of
// package fullnat/sched, with which the counters and the order of the servers are
// compared, too.
//
// It has no code of its own. The tests run in the lab only:
//
//	go test -exec "$PWD/bin/lab" -run TestKernel -v ./ipvs/schedulers
//
// A random run that fails prints its seed and its steps; SEED=number runs it
// again. RUNS=number makes that many runs of each kind, where one is the default.
//
// No client port is ever used twice in a network, because the kernel keeps the
// connections of old ones for minutes.
package schedulers
