package healthcheck

import (
	"os/exec"
	"testing"
)

// postfixCheck makes the folders of a queue, as Postfix's start script does.
func postfixCheck(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("/usr/sbin/postfix", "-c", dir, "check").CombinedOutput()
	if err != nil {
		t.Fatalf("postfix check: %v\n%s", err, out)
	}
}
