package doctor_test

import (
	"testing"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab"
)

// TestBareKernelModuleMissing runs where no module can be loaded: see the
// Makefile. A question must not load the module, and there is one finding.
func TestBareKernelModuleMissing(t *testing.T) {
	if lab.Kind() == "" || lab.HasIPVS() {
		t.Skip("needs a lab without modules: LAB_MODULES=none")
	}
	r, err := doctor.Run(t.Context(), doctor.Options{Root: "testdata/root"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || r.Findings[0].ID != "module-missing" {
		t.Errorf("findings %+v", r.Findings)
	}
}
