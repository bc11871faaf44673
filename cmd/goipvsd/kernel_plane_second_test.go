package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
)

// TestKernelPlaneSecondDaemon: a second goipvsd, with a socket and a folder of its
// own and nothing of full NAT, leaves the rules of the first alone; when the first
// was killed what it has left goes.
func TestKernelPlaneSecondDaemon(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables")
	}
	r := newPlanesRig(t, false)
	r.must(r.net.Director.Mark("tcp", netip.AddrPortFrom(r.vip, 8080), 7))
	r.planes("kernel", "kernel", "reconcile = \"1s\"\n", fmt.Sprintf("[[virtual]]\nfwmark = 7\nscheduler = \"rr\"\nforward = \"fullnat\"\nunchecked = \"up\"\n[virtual.fullnat]\nplane = \"userspace\"\nlocal = [%q]\n[[virtual.real]]\naddress = \"%s:80\"\n", r.locals[0], r.servers[0]))
	r.start()
	r.runs("web", "kernel")
	r.served()
	r.answers("tcp", 8080)

	second := *r.rig
	second.dir, second.log = t.TempDir(), &buffer{}
	second.file("reconcile = \"1s\"\n")
	second.start()
	t.Cleanup(second.kill)
	r.await("the second has looked around", func() bool {
		st, err := second.status()
		return err == nil && st.Time.Sub(st.Started) > 6*time.Second
	})
	if log := r.log.String(); strings.Contains(log, "event=drift") {
		t.Error("the first had to mend something")
	}
	r.served()
	r.answers("tcp", 8080)

	r.kill()
	second.await("what the first has left goes", func() bool { return len(r.tables()) == 0 })
}
