// Package traffic holds the tests that send real connections through the
// kernel's IPVS as package ipvs sets it up, and look at the packets on their way:
// which real server answered, what the director made of the packets by each
// forwarding method, and whom persistence, thresholds and weights let in.
//
// It has no code of its own. The tests run in the lab only:
//
//	go test -exec "$PWD/bin/lab" -run TestKernel -v ./ipvs/traffic
//
// Each test has a network of its own and never uses a client port twice: the
// kernel keeps connections for minutes after their end, and packets of one
// whose real server was deleted vanish without a word.
package traffic
