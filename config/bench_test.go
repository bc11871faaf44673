package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/config"
)

// BenchmarkLoad reads 1,000 services of 10 servers each.
func BenchmarkLoad(b *testing.B) {
	var t strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&t, "[[virtual]]\naddress = \"10.0.%d.%d:80\"\nforward = \"nat\"\n[virtual.check]\ntype = \"http\"\nrequest = \"/\"\n", i/250, i%250+1)
		for j := range 10 {
			fmt.Fprintf(&t, "[[virtual.real]]\naddress = \"10.1.%d.%d:8080\"\nweight = %d\n", i/250, j+1, j+1)
		}
	}
	src := []byte(t.String())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := config.Parse("bench.toml", src, config.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
