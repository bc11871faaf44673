package oracle

import (
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
)

// TestBareKernel runs the recorded command lines for a kernel without IPVS. It
// needs a lab of its own: LAB_MODULES=none.
func TestBareKernel(t *testing.T) {
	switch {
	case lab.Kind() == "" || lab.Kind() == "host":
		t.Skip("needs a lab kernel without IPVS: LAB_MODULES=none go test -exec lab (docs/lab.md)")
	case lab.HasIPVS():
		t.Fatal("this lab has IPVS: start it with LAB_MODULES=none")
	}
	s := newStage(t)
	theirs, ours := s.real(t), s.ours(t)
	for _, r := range records(t, func(r *record) bool { return r.tagged("no-module") }) {
		t.Run(r.Name, func(t *testing.T) {
			user := *theirs
			user.uid = r.UID
			if a := user.run(t, r.Stdin, r.Argv...); a.Exit != status(r.Exit) {
				t.Errorf("ipvsadm itself: %+v, want exit %v", a, r.Exit)
			}
			user = *ours
			user.uid = r.UID
			r.judge(t, user.run(t, r.Stdin, r.Argv...), "", "")
		})
	}
}
