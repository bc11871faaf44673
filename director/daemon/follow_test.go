package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/sysctl"
)

func TestScheduling(t *testing.T) {
	n := sysctl.Netns{Root: t.TempDir()}
	if got := scheduling(n); got != (fullnat.Scheduling{}) {
		t.Errorf("without IPVS: %+v", got)
	}
	for knob, value := range map[string]string{"expire_quiescent_template": "1\n", "lblc_expiration": "60\n", "lblcr_expiration": "86400\n"} {
		file := n.File(sysctl.VS(knob))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := scheduling(n), (fullnat.Scheduling{ExpireQuiescentTemplate: true, LBLCExpiration: time.Minute, LBLCRExpiration: 24 * time.Hour}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
