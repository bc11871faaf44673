package examples

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
)

// The configurations load, without a warning, and the director can build what
// they ask for.
func TestConfigurations(t *testing.T) {
	files, err := filepath.Glob("config/*.toml")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, err := config.Load(name, config.Options{NoSecrets: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range c.Warnings {
				t.Error(w)
			}
			if len(c.Virtuals) == 0 {
				t.Fatal("no services")
			}
			withoutFiles(c)
			n := byte(0)
			bound, lost := c.Bind(func(config.Host) (netip.Addr, bool) { n++; return netip.AddrFrom4([4]byte{10, 9, 9, n}), true })
			for _, p := range lost {
				t.Error(p)
			}
			if _, err := director.Build(bound, false); err != nil {
				t.Error(err)
			}
		})
	}
}

// withoutFiles forgets what is only on the machine that the file is for.
func withoutFiles(c *config.Config) {
	for i := range c.Virtuals {
		for j := range c.Virtuals[i].Reals {
			for k := range c.Virtuals[i].Reals[j].Checks {
				ch := &c.Virtuals[i].Reals[j].Checks[k]
				ch.CA = ""
				if ch.Login != "" {
					ch.Password = "known there only"
				}
				if ch.Type == "radius" {
					ch.Secret = "known there only"
				}
			}
		}
	}
}
