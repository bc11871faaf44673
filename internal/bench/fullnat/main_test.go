package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// TestKilled: what a bench has started ends with it, with what that has started
// in its turn, also when the bench has no time to see to it.
func TestKilled(t *testing.T) {
	const isBench = "GOIPVS_TEST_BENCH"
	if os.Getenv(isBench) != "" {
		n, err := topo.New(topo.Spec{Servers: 1})
		if err != nil {
			t.Fatal(err)
		}
		nginx := exec.Command("sh", "-c", "sleep 1000 & echo started; wait")
		nginx.Stdout = os.Stdout
		if err := startBound(n.Director, nginx); err != nil {
			t.Fatal(err)
		}
		select {} // until it is killed
	}
	if os.Geteuid() != 0 {
		t.Skip("makes namespaces: needs root")
	}
	bench := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
	bench.Env = append(os.Environ(), isBench+"=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	bench.Stdout, bench.Stderr = w, w
	err = bench.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(r)
	if line, err := out.ReadString('\n'); line != "started\n" {
		rest, _ := io.ReadAll(out)
		t.Fatalf("%s%s%v", line, rest, err)
	}
	if err := bench.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(out); err != nil { // all who can write to it have ended
		t.Errorf("something goes on: %v", err)
	}
	_ = bench.Wait() // it was killed
}
