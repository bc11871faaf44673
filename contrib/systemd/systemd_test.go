// Package systemd holds the files for systemd; its test has systemd judge them.
package systemd

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestUnit: what the daemon relies on is in the unit, and the unit gives it
// nothing more.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile("goipvsd.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "NotifyAccess=main", "KillMode=mixed", "FileDescriptorStoreMax=16384", "WatchdogSec=30s", "Restart=always", "User=goipvs", "NoNewPrivileges=yes", "RuntimeDirectoryPreserve=yes",
		"AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE",
		"ProtectKernelTunables=no", "ProcSubset=all", "ExecStart=/usr/sbin/goipvsd -c /etc/goipvs/goipvs.toml",
	} {
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestSecurity: systemd's own judgement of how exposed the service is. It runs
// where systemd is installed.
func TestSecurity(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd here")
	}
	out, err := exec.Command(tool, "security", "--offline=true", "--threshold=25", "./goipvsd.service").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
