// Package topotest is package topo for tests: the network goes away with the
// test, what cannot be set up fails it, and a failed test shows its packets.
package topotest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
)

// New builds a network for a kernel test, which is skipped outside the lab.
func New(t testing.TB, spec topo.Spec) *topo.Net {
	t.Helper()
	lab.Need(t)
	n, err := topo.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Capture records on an interface for the rest of the test. When the test fails,
// its log gets the packets and go test -artifacts keeps them as a pcap file.
func Capture(t testing.TB, h *topo.Host, dev string) *topo.Capture {
	t.Helper()
	c, err := h.Capture(dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			show(t, c)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func show(t testing.TB, c *topo.Capture) {
	packets, err := c.Packets()
	if err != nil {
		t.Log(err)
		return
	}
	var text strings.Builder
	for _, p := range packets {
		text.WriteString(p.Time.Format("05.000000 ") + p.String() + "\n")
	}
	t.Logf("packets of %s %s:\n%s", c.Host.Name, c.Dev, text.String())
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		return // the directory would be gone with the test
	}
	name := filepath.Join(t.ArtifactDir(), c.Host.Name+"-"+c.Dev+".pcap")
	f, err := os.Create(name)
	if err != nil {
		t.Log(err)
		return
	}
	defer f.Close()
	if err := topo.WritePcap(f, packets); err != nil {
		t.Log(err)
	}
}
