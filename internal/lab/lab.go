package lab

import (
	"os"
	"testing"
)

// Env is the variable that says a lab kernel is there: uml, qemu or host. The
// lab command sets it; nobody else should, because kernel tests wipe the IPVS
// table of the machine they run on.
const Env = "GOIPVS_LAB"

// Kind tells which lab this process runs in: uml, qemu, host, or "" for none.
func Kind() string { return os.Getenv(Env) }

// Need skips t unless the process runs in a lab. In a lab it fails t when what
// a kernel test needs is not there: being root and having IPVS.
func Need(t testing.TB) {
	t.Helper()
	switch {
	case Kind() == "":
		t.Skipf("needs a lab kernel: go test -exec lab (docs/lab.md)")
	case os.Geteuid() != 0:
		t.Fatalf("the lab must run as root, not as uid %d", os.Geteuid())
	case !HasIPVS():
		t.Fatalf("the kernel of the lab has no IPVS: /proc/net/ip_vs is missing")
	}
}

// HasIPVS tells whether IPVS is loaded, as the network namespace of the
// calling thread sees it.
func HasIPVS() bool {
	_, err := os.Stat("/proc/thread-self/net/ip_vs")
	return err == nil
}
