package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

func TestMain(m *testing.M) {
	if !serveIfTold() {
		os.Exit(m.Run())
	}
}

type log struct{ t *testing.T }

func (l log) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// The demo judges itself.
func TestDemo(t *testing.T) {
	d := &demo{out: log{t}, network: netip.MustParsePrefix("127.88.0.0/24"), port: testserver.Port(t), phase: 300 * time.Millisecond}
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
