package lab

import "github.com/goipvs/goipvs/internal/lab/kmod"

// Load loads modules that the kernel does not load on demand, such as fou,
// with those they need. A module that is there already is no error.
func Load(modules ...string) error { return kmod.Request(modules...) }
