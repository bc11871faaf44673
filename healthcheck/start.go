package healthcheck

import "os/exec"

// StartUnprivileged starts an operator's program, as external checks do: without
// the capabilities of this process.
func StartUnprivileged(cmd *exec.Cmd) error { return startWithout(cmd) }
