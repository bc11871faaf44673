package daemon

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestReleaseCode: pages of code leave, and come back when they are needed.
func TestReleaseCode(t *testing.T) {
	list := codeOf("/proc/self/maps")
	if len(list) == 0 {
		t.Fatal("no code found")
	}
	before := filePages(t)
	releaseCode()
	if after := filePages(t); after >= before {
		t.Errorf("%d KiB of files resident, before %d", after, before)
	}
}

func filePages(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
