package ipvsadm

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// rulesText is a saved table of services with servers each.
func rulesText(services, servers int) []byte {
	var b bytes.Buffer
	for s := range services {
		vip := fmt.Sprintf("10.%d.%d.%d:80", s>>16, s>>8&255, s&255)
		fmt.Fprintf(&b, "-A -t %s -s wrr -p 300 -M 255.255.255.0\n", vip)
		for d := range servers {
			fmt.Fprintf(&b, "-a -t %s -r 172.16.%d.%d:8080 -m -w %d\n", vip, s&255, d, d+1)
		}
	}
	return b.Bytes()
}

// parseAll parses a text as restoring does, once.
func parseAll(t *text) (lines int, err error) {
	r := rules{text: t}
	for {
		ok, err := r.advance()
		if !ok || err != nil {
			return lines, err
		}
		lines++
	}
}

func BenchmarkParseRules(b *testing.B) {
	input := rulesText(10_000, 10)
	var t text
	if err := t.read(bytes.NewReader(input)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	lines := 0
	start := time.Now()
	for b.Loop() {
		n, err := parseAll(&t)
		if err != nil {
			b.Fatal(err)
		}
		lines += n
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(lines), "ns/line")
}

// TestParseRulesAllocations: a hundred thousand lines must not feed the garbage
// collector.
func TestParseRulesAllocations(t *testing.T) {
	var in text
	if err := in.read(bytes.NewReader(rulesText(100, 10))); err != nil {
		t.Fatal(err)
	}
	perRun := testing.AllocsPerRun(5, func() {
		if n, err := parseAll(&in); n != 1100 || err != nil {
			t.Fatal(n, err)
		}
	})
	if perRun > 20 {
		t.Errorf("%v allocations for 1100 lines", perRun)
	}
}
